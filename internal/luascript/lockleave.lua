-- Takes requests for names out of their lines and gives back what was handed to them and they have not renewed.
--
-- ARGV  2... for each request: token, number of names, name...
-- Reply {waited, returned, ...}: 1 or 0, and the number of names given back, for each
-- Cost  one round trip; O(names)
local tokens, wanted, all, answer = {}, {}, {}, {}

local at = 2
while ARGV[at] do
  local last = at + 1 + tonumber(ARGV[at + 1])
  tokens[#tokens + 1], wanted[#tokens + 1] = ARGV[at], { unpack(ARGV, at + 2, last) }
  for i = at + 2, last do all[#all + 1] = ARGV[i] end
  at = last + 1
end
fetch(all)
fetchRequests(tokens)
for i = 1, #tokens do
  local waited, returned = leave(tokens[i], wanted[i])
  answer[2 * i - 1], answer[2 * i] = waited and 1 or 0, returned
end
serve()
flush()
return answer

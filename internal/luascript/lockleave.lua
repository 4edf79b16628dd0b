-- Takes requests for names out of their lines and gives back what was handed to them and they have not renewed.
--
-- ARGV  2... for each request: token, number of names, name...
-- Reply {waited, returned, ...}: 1 or 0, and the number of names given back, for each
-- Cost  one round trip; O(names)
local tokens, lists = wanted(2)
local answer = {}

fetchRequests(tokens)
for i = 1, #tokens do
  local waited, returned = leave(tokens[i], lists[i])
  answer[2 * i - 1], answer[2 * i] = waited and 1 or 0, returned
end
serve()
flush()
return answer

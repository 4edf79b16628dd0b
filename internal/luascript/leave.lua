-- Takes requests out of the line and gives back what they were granted and have not renewed.
--
-- ARGV  4... tokens
-- Reply {waited, returned, ...}: 1 or 0, and the number of members given back, for each
-- Cost  one round trip; O(tokens)
local answer = {}

lapse()
for i = 4, #ARGV do
  local waited, returned = leave(ARGV[i])
  answer[#answer + 1] = waited and 1 or 0
  answer[#answer + 1] = returned
end
serve()
flush()
return answer

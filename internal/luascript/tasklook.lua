-- Tells how tasks stand.
--
-- ARGV  2 "1" for payload and meta  3... ids
-- Reply for each task, or for the first of them if their data is long, what answered() in taskanswers.lua gives
-- Cost  one round trip; two commands a task
local MOST = 4194304 -- bytes of data that are answered at most, but for those of one task

local replies, bytes = {}, 0
for i = 3, #ARGV do
  local answer = answered(ARGV[i], ARGV[2] == '1')
  bytes = bytes + sizeOf(answer)
  if bytes > MOST and #replies > 0 then break end
  replies[#replies + 1] = answer
end
flush()
return replies

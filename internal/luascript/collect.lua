-- Looks at some members, going on where the last call stopped, and puts right what nobody told the pool.
--
-- ARGV  4 how many, about
-- Reply {freed, dropped, marked as allocated, repaired}
-- Cost  one round trip; O(count), or O(pool) below 512 members
lapse()
collect(tonumber(ARGV[4]), false)
local answer = { freed, dropped, marked, repaired }
serve()
flush()
return answer

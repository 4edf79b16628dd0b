-- Gives members back whoever has them.
--
-- ARGV  4 seconds of membership from now, -1 for ever  5... members
-- Reply a digit for each: whether it was locked
-- Cost  one round trip; O(members)
local seconds, members, released = tonumber(ARGV[4]), { unpack(ARGV, 5) }, {}
local expiry = seconds < 0 and '-1' or int(sec + seconds)

call('ZCARD', leases) -- fails on a key of another type before anything is written
fetch(members)
for i = 1, #members do
  local member = members[i]
  if locked(member) then
    released[i] = '1'
    dropLock(member)
    local n = node(member)
    if n then
      n[3] = expiry
      touch(member, n)
      free(member, n)
    end
  else
    released[i] = '0'
  end
end
serve()
flush()
return table.concat(released)

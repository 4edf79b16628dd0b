-- Makes members the only ones. Gives {-1, 0} and changes nothing if the pool is too large for one step.
--
-- ARGV  4 seconds of membership of new members, -1 for ever  5 the largest pool to treat  6... members
-- Reply {added, removed}
-- Cost  one round trip; O(members + pool)
call('ZCARD', leases) -- fails on a key of another type before anything is written
local size = call('HLEN', pool)
if #ARGV < 6 then
  call('UNLINK', pool)
  call('MSET', headKey, '', tailKey, '')
  return { 0, size }
end
if size > tonumber(ARGV[5]) then return { -1, 0 } end

local seconds, members, stays = tonumber(ARGV[4]), { unpack(ARGV, 6) }, {}
local expiry = seconds < 0 and '-1' or int(sec + seconds)
local added, removed = 0, 0

for i = 1, #members do stays[members[i]] = true end
local names = call('HKEYS', pool)
fetch(names)
for i = 1, #names do
  if not stays[names[i]] then
    local n = nodes[names[i]] -- false if it was dropped on the way, because it can be no member
    if n then drop(names[i], n) end
    removed = removed + 1
  end
end
for i = 1, #members do
  if not node(members[i]) then
    dropLock(members[i])
    push(members[i], { '', '', expiry })
    added = added + 1
  end
end
serve()
adds = added > 0
flush()
return { added, removed }

-- Adds members at the tail, or gives them a new expiry.
--
-- ARGV  4 seconds of membership, -1 for ever  5 "1": those that are members already keep their expiry  6... members,
--       each once
-- Reply {added}
-- Cost  one round trip; O(members)
local seconds, members, added = tonumber(ARGV[4]), { unpack(ARGV, 6) }, 0
local expiry = seconds < 0 and '-1' or int(sec + seconds)

call('ZCARD', leases) -- fails on a key of another type before anything is written
local values, known = call('HMGET', pool, unpack(members)), false
for i = 1, #members do known = known or values[i] end
local fresh = not known and #waiters.page == 0 and (head == '') == (tail == '')
local last = fresh and tail ~= '' and node(tail)
if fresh and (tail == '' or last and last[1] ~= ALLOCATED and last[2] == '') then
  -- All are new and nobody waits: the common case of loading a pool, without tables that stand for it.
  local links, locks, prev, rest = { pool }, {}, tail, '||' .. expiry
  for i = 1, #members do
    local member = members[i]
    links[2 * i], links[2 * i + 1] = member, prev .. '||' .. (members[i + 1] or '') .. rest
    locks[i] = lockPrefix .. member
    prev = member
  end
  call('HSET', unpack(links))
  if tail ~= '' then call('HSET', pool, tail, last[1] .. '||' .. members[1] .. '||' .. last[3]) end
  call('MSET', headKey, head == '' and members[1] or head, tailKey, prev)
  call('DEL', unpack(locks))
  call('ZREM', leases, unpack(members))
  return { #members }
end

for i = 1, #members do
  local member, value = members[i], values[i]
  if nodes[member] == nil then nodes[member] = value and { parse(value) } or false end
end
for i = 1, #members do
  local member = members[i]
  local n = nodes[member]
  if n then
    if ARGV[5] ~= '1' then
      n[3] = expiry
      touch(member, n)
    end
  else
    dropLock(member)
    push(member, { '', '', expiry })
    added = added + 1
  end
end
serve()
adds = true
flush()
return { added }

-- Gives back what calls were granted whose answer never arrived: their tokens are looked for in the line, and among the
-- leases by the deadlines that those calls can have written, page by page.
--
-- ARGV  4 milliseconds since the first of them was sent, and some  5 their TTL, -1 for ever
--       6 to 8 where to go on: the last three of the reply before, or "" "" "0"  9 leases to look at  10... tokens
-- Reply {looked at, given back, to, from, skip}: the deadlines up to which and from which to look, and how many of
--       those with the latter to leave out
-- Cost  one round trip; O(leases to look at)
local elapsed, ttl, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[9])
local base = endOf(ttl)
local to, from, skip = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local lost, returned = {}, 0

lapse()
for i = 10, #ARGV do
  lost[ARGV[i]] = true
  if not to then
    local _, n = leave(ARGV[i])
    returned = returned + n
  end
end
to, from = to or base, from or base - elapsed

local found = call('ZRANGEBYSCORE', leases, int(from), int(to), 'WITHSCORES', 'LIMIT', skip, limit)
local members = {}
for i = 1, #found, 2 do members[#members + 1] = found[i] end
fetchLocks(members)
for i = 1, #members do
  local member, deadline = members[i], tonumber(found[2 * i])
  if deadline ~= from then from, skip = deadline, 0 end
  if locks[member] and lost[locks[member]] then
    dropLock(member)
    local n = node(member)
    if n then free(member, n) end
    returned = returned + 1
  else
    skip = skip + 1
  end
end
serve()
flush()
return { #members, returned, int(to), int(from), skip }

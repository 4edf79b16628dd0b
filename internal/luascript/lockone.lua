-- One name, alone, for a lone caller who locks, unlocks or enters, and what a call of many begins with. Put in front of
-- lockexchange, whose first arguments it reads. It is the same step for a name where nobody waits; all else it leaves,
-- having written nothing, to what follows.
--
-- KEYS  of a lone lock:    1 lock  2 line  3 entries  4 fence       ARGV  1 as in locks.lua  2 "lock"    3 token  4 ttl
--       of a lone enter:   the same, 5 requests  6 processes  7 sequence      2 "enter"  and 5 process  6 claim  7 priority
--       of a lone unlock:  1 lock  2 line  3 entries  4 requests    ARGV  1 as in locks.lua  2 "unlock"  3 token
-- Reply of a lone lock the fence, 0 if it is refused; of a lone unlock 1 or 0; of a lone enter that of lockexchange.lua
local form, unlocks, renewals, locks = ARGV[2], 0, 0, 0
local ARGV = ARGV
local owner -- of the name that a lone caller unlocks or enters

-- alone puts the arguments of a lone call in the form of all others.
local function alone()
  local name = string.sub(KEYS[1], #select(6, struct.unpack('ssssss', ARGV[1])) + 1)
  if form == 'lock' then
    locks = 1
    return { ARGV[1], form, ARGV[3], ARGV[4], name }
  elseif form == 'unlock' then
    unlocks = 1
    return { ARGV[1], form, name, ARGV[3] }
  end
  form, locks = 'mixed', 1
  return { ARGV[1], form, ARGV[3], ARGV[4], 'w', ARGV[5], ARGV[6], ARGV[7], '1', name, '0', '0' }
end

if form == 'lock' or form == 'enter' then
  local call = redis.call
  if call('EXISTS', KEYS[1], KEYS[2], KEYS[3]) == 0 then
    local clock = call('TIME')
    local fence = clock[1] * 1000000 + clock[2]
    local last = tonumber(call('SET', KEYS[4], fence, 'GET') or nil)
    if last and last >= fence then
      fence = last + 1
      call('SET', KEYS[4], fence)
    end
    if ARGV[4] == '-1' then call('SET', KEYS[1], ARGV[3]) else call('PSETEX', KEYS[1], ARGV[4], ARGV[3]) end
    if form == 'lock' then return fence end
    return { '', '', { 1, fence } }
  end
  owner = call('GET', KEYS[1])
  if form == 'lock' and owner and owner ~= SHARED then return 0 end
elseif form == 'unlock' then
  local call = redis.call
  owner = call('GET', KEYS[1])
  if owner ~= ARGV[3] and owner ~= SHARED then return 0 end
  if owner == ARGV[3] and call('EXISTS', KEYS[2], KEYS[3], KEYS[4]) == 0 then return call('DEL', KEYS[1]) end
else
  local a, b, c, d = string.match(form, '^(%d+) (%d+) (%d+) (%a+)$')
  unlocks, renewals, locks, form = tonumber(a), tonumber(b), tonumber(c), d
end

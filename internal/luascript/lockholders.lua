-- Looks at names and changes nothing.
--
-- KEYS  1 limits; the others only through the prefixes
-- ARGV  1 to 4 prefixes of locks, lines, holders and units  5... names
-- Reply for each name {value or false, PTTL, limit, length of the line, token, units, end of the lease in ms from now
--       (-1: none), ...}, the holders being those of a shared name
-- Cost  one round trip; O(holders)
local call = redis.call
local lockPrefix, linePrefix, holdersPrefix, unitsPrefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local clock, reply = call('TIME'), {}
local ms = math.floor(clock[1] * 1000 + clock[2] / 1000)
for i = 5, #ARGV do
  local name = ARGV[i]
  local value = call('GET', lockPrefix .. name)
  local state = { value, call('PTTL', lockPrefix .. name), tonumber(call('HGET', KEYS[1], name)) or 0,
    call('ZCARD', linePrefix .. name) }
  if value == SHARED then
    local found = call('ZRANGEBYSCORE', holdersPrefix .. name, string.format('%.0f', ms), '+inf', 'WITHSCORES')
    for j = 1, #found, 2 do
      local ends, units = tonumber(found[j + 1]), call('HGET', unitsPrefix .. name, found[j]) or ''
      state[#state + 1] = found[j]
      state[#state + 1] = tonumber(string.match(units, '^%d+')) or 0
      state[#state + 1] = ends < FOREVER and ends - ms or -1
    end
  end
  reply[#reply + 1] = state
end
return reply

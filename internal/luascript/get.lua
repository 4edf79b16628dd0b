-- Looks at values.
--
-- KEYS  values
-- Reply {value or false, PTTL, ...}
-- Cost  one round trip; O(values)
local reply = {}
for i = 1, #KEYS do
  reply[2 * i - 1] = redis.call('GET', KEYS[i])
  reply[2 * i] = redis.call('PTTL', KEYS[i])
end
return reply

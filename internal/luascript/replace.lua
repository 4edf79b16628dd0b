-- Makes names the only members of a set.
--
-- KEYS  1 set
-- ARGV  names
-- Reply 1
-- Cost  one round trip; O(members + names)
redis.call('SCARD', KEYS[1]) -- fails on a key of another type before anything is written
redis.call('DEL', KEYS[1])
if #ARGV > 0 then redis.call('SADD', KEYS[1], unpack(ARGV)) end
return 1

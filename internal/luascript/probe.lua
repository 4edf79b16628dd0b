-- Finds out which commands this user may not call. Every call is one that changes nothing: it finds nothing to change
-- or fails for its arguments, which comes after the rights. That a key is denied does not matter: the command is not.
--
-- ARGV  1 a key that does not exist; not in KEYS, because the user need have no right to it  2 a channel
-- Reply names of the commands that are denied
-- Cost  one round trip
local k = ARGV[1]
local calls = {
  { 'TIME' }, { 'GET', k }, { 'MGET', k }, { 'EXISTS', k }, { 'PTTL', k }, { 'SET', k, 'v', 'XX' },
  { 'MSET', k, 'v', k }, { 'PSETEX', k, '0', 'v' }, { 'DEL', k }, { 'UNLINK', k }, { 'PEXPIRE', k, '1' },
  { 'PEXPIREAT', k, '1' }, { 'PERSIST', k }, { 'HGET', k, 'f' }, { 'HMGET', k, 'f' }, { 'HGETALL', k },
  { 'HKEYS', k }, { 'HLEN', k }, { 'HSCAN', k, '0' }, { 'HRANDFIELD', k }, { 'HSET', k, 'f', 'v', 'odd' },
  { 'HDEL', k, 'f' }, { 'ZADD', k, 'XX', '1', 'm' }, { 'ZREM', k, 'm' }, { 'ZREMRANGEBYSCORE', k, '0', '0' },
  { 'ZCARD', k }, { 'ZCOUNT', k, '0', '0' }, { 'ZRANK', k, 'm' }, { 'ZSCORE', k, 'm' }, { 'ZMSCORE', k, 'm' },
  { 'ZRANGE', k, '0', '0' }, { 'ZRANGEBYSCORE', k, '0', '0' }, { 'SCARD', k }, { 'SMISMEMBER', k, 'm' },
  { 'SSCAN', k, '0' }, { 'SREM', k, 'm' }, { 'PUBLISH', ARGV[2], '' }, { 'SISMEMBER', k, 'm' }, { 'ZPOPMIN', k },
  { 'HINCRBY', k, 'f', 'no' }, { 'LLEN', k }, { 'LRANGE', k, '0', '0' }, { 'LPOS', k, 'm' }, { 'LPOP', k },
}
local denied = {}

local function try(command)
  local answer = redis.pcall(unpack(command))
  local text = type(answer) == 'table' and answer.err
  if text and (string.find(text, "can't run this command", 1, true) -- up to Redis 7.0
    or string.find(text, 'no permissions to run', 1, true)) then
    denied[#denied + 1] = command[1]
    return false
  end
  return true
end

local all = true
for i = 1, #calls do all = try(calls[i]) and all end
if all then -- there is no way to call these in vain; with DEL they leave nothing
  local puts = { 'SADD', 'LPUSH', 'RPUSH' }
  for i = 1, #puts do
    try({ puts[i], k, 'm' })
    redis.pcall('DEL', k)
  end
end
return denied

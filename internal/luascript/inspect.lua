-- Looks at a pool and changes nothing.
--
-- KEYS  1 pool  2 head  3 tail  4 leases  5 line
-- ARGV  1 prefix of lock keys  2 "count", "all", "page" or "only"  3 cursor  4 limit  or  3... members
-- Reply {head, tail, cursor, total, waiting, milliseconds since 1970, member...}, a member being
--       {name, prev, next, expiry, owner or false, PTTL, deadline in the index or false}
-- Cost  one round trip; O(members in the reply)
local call = redis.call
local lockPrefix, mode = ARGV[1], ARGV[2]
local clock = call('TIME')
local now = math.floor(clock[1] * 1000 + clock[2] / 1000)
local head, tail = call('GET', KEYS[2]) or '', call('GET', KEYS[3]) or ''
local reply = { head, tail, '', call('HLEN', KEYS[1]), call('ZCARD', KEYS[5]), now }

local function look(name, value)
  local key = lockPrefix .. name
  local owner = call('MGET', key)[1]
  local left = call('PTTL', key)
  if not owner and left ~= -2 then owner = '' end -- a lock that is no string
  local prev, next, expiry = parse(value)
  reply[#reply + 1] = { name, prev, next, expiry, owner, left, call('ZSCORE', KEYS[4], name) }
end

if mode == 'only' then
  for i = 3, #ARGV do
    local value = call('HGET', KEYS[1], ARGV[i])
    if value then look(ARGV[i], value) end
  end
elseif mode ~= 'count' then
  local pairs
  if mode == 'all' then pairs = call('HGETALL', KEYS[1])
  else
    local page = call('HSCAN', KEYS[1], ARGV[3], 'COUNT', ARGV[4])
    reply[3] = page[1] == '0' and '' or page[1]
    pairs = page[2]
  end
  for i = 1, #pairs, 2 do look(pairs[i], pairs[i + 1]) end
end
return reply

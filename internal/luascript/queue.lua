-- Looks at a line and changes nothing.
--
-- KEYS  1 line  2 requests
-- ARGV  1 token or ""  2 how many waiters to list  3 the name whose line it is, "" for that of the pool
-- Reply {length, position of the token or 0, waiter...}, a waiter being {token, priority, count, since in µs}; count is the
--       number of members, or of units of the name, 0 for the name alone
-- Cost  one round trip; O(log line + waiters listed)
local call = redis.call
local name = ARGV[3]

-- asked gives count and since of a request, as prelude.lua or locks.lua packed it.
local function asked(r)
  if name == '' then return tonumber(r[3]) or 1, tonumber(r[8]) or 0 end
  local items, units = type(r[4]) == 'table' and r[4] or {}, 0
  for i = 1, #items, 3 do
    if items[i] == name then units = tonumber(items[i + 1]) or 0 end
  end
  return units, tonumber(r[3]) or 0
end

local reply = { call('ZCARD', KEYS[1]), (call('ZRANK', KEYS[1], ARGV[1]) or -1) + 1 }
local limit = tonumber(ARGV[2])
if limit > 0 then
  local waiters = call('ZRANGE', KEYS[1], 0, limit - 1, 'WITHSCORES')
  for i = 1, #waiters, 2 do
    local ok, r = pcall(cmsgpack.unpack, call('HGET', KEYS[2], waiters[i]) or '')
    if not ok or type(r) ~= 'table' then r = {} end -- it is taken out of the line when somebody meets it
    local priority = -math.floor(tonumber(waiters[i + 1]) / CLASS) -- see place() in lines.lua
    local count, since = asked(r)
    reply[#reply + 1] = { waiters[i], priority, count, since }
  end
end
return reply

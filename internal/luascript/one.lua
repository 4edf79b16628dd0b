-- One take, or one return, alone: what a lone caller sends. Put in front of exchange, whose first argument it reads. It
-- is the same step for a member without expiry in the middle of a free list where nothing is out of the ordinary; all
-- else it leaves, having written nothing, to what follows.
--
-- KEYS, ARGV and reply are those of exchange.lua where all is plain.

local header = ARGV[4]
local returns, renewals, takes, riding, allPlain = 0, 0, 0, 0, true
local waiting -- if that was asked for: who is first in line, one more than there are returns
local collectNow -- if there is something to collect: how many members to look at

-- Between two collections that ride along, so many pass by a large pool, and look at as many members the fewer times.
local RIDES = 4

-- ride looks whether a collection that rides along has anything to do: locks and ends of memberships, not the links.
-- It gives true, and the cursor to write if it has moved; or false.
local function ride(us)
  local call, sub, prefix, count, size = redis.call, string.sub, ARGV[1], riding, redis.call('HLEN', KEYS[1])
  if size > 512 and size > count then
    if us % RIDES > 0 then return true end
    count = count * RIDES
  elseif size > count and us % size >= count then return true -- a small hash is walked as a whole
  end
  collectNow = count
  local page = redis.pcall('HSCAN', KEYS[1], call('GET', KEYS[9]) or '0', 'COUNT', count)
  if page.err then return false end
  local cursor, free, held = page[1], {}, {}
  page = page[2]
  for i = 1, #page, 2 do
    local value = page[i + 1]
    if sub(value, 1, 24) == '#ALLOCATED||#ALLOCATED||' then held[#held + 1] = prefix .. page[i]
    else free[#free + 1] = prefix .. page[i] end
    if sub(value, -4) ~= '||-1' and (tonumber(string.match(value, '||([^|]*)$')) or 0) <= us / 1000000 then return false end
  end
  if #free > 0 and call('EXISTS', unpack(free)) > 0 or #held > 0 and call('EXISTS', unpack(held)) < #held then return false end
  collectNow = nil
  return true, cursor
end

if header == 'take' then
  takes, riding = 1, tonumber(ARGV[7] or 0)
  local call, sub = redis.call, string.sub
  local clock = call('TIME')
  local us = clock[1] * 1000000 + clock[2]
  local ms = math.floor(us / 1000)
  local ends = call('MGET', KEYS[2], KEYS[3], KEYS[5])
  local head, fence = ends[1], tonumber(ends[3] or nil)
  if head and head ~= '' and ends[2] and fence and call('ZCOUNT', KEYS[4], '-inf', '(' .. ms) == 0 then
    local value, lock, token, ttl = call('HGET', KEYS[1], head), ARGV[1] .. head, ARGV[5], ARGV[6]
    local next = value and #value > 6 and sub(value, 1, 2) == '||' and sub(value, -4) == '||-1' and sub(value, 3, -5)
    local behind = next and call('HGET', KEYS[1], next)
    local fine, cursor = behind and sub(behind, 1, #head + 2) == head .. '||' and call('EXISTS', lock, KEYS[6]) == 0
    if fine and riding > 0 then fine, cursor = ride(us) end
    if fine then
      fence = math.max(fence + 1, us)
      call('HSET', KEYS[1], head, '#ALLOCATED||#ALLOCATED||-1', next, sub(behind, #head + 1))
      call('MSET', KEYS[2], next, KEYS[5], string.format('%.0f', fence))
      if ttl == '-1' then
        call('SET', lock, token)
        call('ZADD', KEYS[4], FOREVER + ms, head)
      else
        call('PSETEX', lock, ttl, token)
        call('ZADD', KEYS[4], ms + ttl, head)
      end
      if cursor then call('SET', KEYS[9], cursor) end
      return { '', '', fence, head }
    end
  end
elseif header == 'return' then
  returns = 1
  local call, sub = redis.call, string.sub
  waiting = call('ZRANGE', KEYS[6], 0, 1)
  if #waiting == 0 then
    local member, lock = ARGV[5], ARGV[1] .. ARGV[5]
    local found, clock = call('MGET', KEYS[2], KEYS[3], lock), call('TIME')
    local tail = found[2]
    if found[3] == ARGV[6] and found[1] and tail and tail ~= ''
      and call('ZCOUNT', KEYS[4], '-inf', '(' .. math.floor(clock[1] * 1000 + clock[2] / 1000)) == 0 then
      local values = call('HMGET', KEYS[1], member, tail)
      local last = values[2]
      if values[1] == '#ALLOCATED||#ALLOCATED||-1' and last and sub(last, -6) == '||||-1' and sub(last, 1, 12) ~= '#ALLOCATED||' then
        call('DEL', lock)
        call('ZREM', KEYS[4], member)
        call('HSET', KEYS[1], tail, sub(last, 1, -5) .. member .. '||-1', member, tail .. '||||-1')
        call('SET', KEYS[3], member)
        return { '1', '', 0 }
      end
    end
  end
else
  local a, b, c, d, e = string.match(header, '^(%d+) (%d+) (%d+) (%d+) (%a+)$')
  returns, renewals, takes, riding, allPlain = tonumber(a), tonumber(b), tonumber(c), tonumber(d), e == 'plain'
end

-- The common case of exchange; put in front of it, behind one. It is the same step without what is rarely needed (lines, leases
-- that ran out, locked or expired members in the way, garbage), in one function that makes few others. What it does
-- not know it leaves, having written nothing, to the rest of the script, which begins anew.
--
-- What costs time here, apart from the commands: closures, tables that grow, patterns, and numbers that become text.
--
-- KEYS, ARGV and reply are those of exchange.lua where all is plain.

-- linksOf reads next and expiry of a member whose predecessor is known; nothing if it is another one.
local function linksOf(value, prev)
  local sub, from = string.sub, #prev + 3
  if not value or sub(value, 1, from - 1) ~= prev .. '||' then return end
  local next, expiry
  if sub(value, -4) == '||-1' and #value >= from + 3 then next, expiry = sub(value, from, -5), '-1'
  else next, expiry = string.match(sub(value, from), '^(.*)||([^|]*)$') end
  if not next or next == '#ALLOCATED' or sub(next, 1, 1) == '|' then return end
  return next, expiry
end

-- over tells whether a membership has ended, or may have.
local function over(expiry, sec) return expiry ~= '-1' and (tonumber(expiry) or 0) <= sec end

-- vacant says that nobody waits, as far as that is known already.
local function fast(vacant)
  local call, unpack, sub, match = redis.call, unpack, string.sub, string.match
  local KEYS, ARGV = KEYS, ARGV
  local pool, leases, lockPrefix = KEYS[1], KEYS[4], ARGV[1]
  local none = {}

  local clock = call('TIME')
  local sec = tonumber(clock[1])
  local us = sec * 1000000 + clock[2]
  local ms = math.floor(us / 1000)
  if call('ZCOUNT', leases, '-inf', '(' .. ms) > 0 then return end
  local moves = returns + takes > 0 -- nobody is served by a renewal
  if returns > 0 and takes == 0 and not vacant and call('EXISTS', KEYS[6]) == 1 then return end

  -- The ends of the free list, the last fence, and who holds what is given back or renewed.
  local keys, at = { KEYS[2], KEYS[3], KEYS[5] }, 5
  for i = 1, returns do keys[3 + i] = lockPrefix .. ARGV[3 + 2 * i] end
  for i = 1, renewals do keys[3 + returns + i] = lockPrefix .. ARGV[2 + 2 * returns + 3 * i] end
  local found = call('MGET', unpack(keys))
  local head, tail, fence = found[1], found[2], found[3] and tonumber(found[3])
  if moves and (not head or not tail or (head == '') ~= (tail == '')) or takes > 0 and not fence then return end
  local head0, tail0, tailValue = head, tail, nil

  -- Returns: the locks in unlocked go, and those of these members that are in the pool, back, to the tail of the list.
  local returned, gone, unlocked, back, expiry = '', none, none, none, none
  local values = none
  if returns > 0 then
    local n, digits = 0, nil
    gone, unlocked, back, expiry = {}, {}, {}, {}
    for i = 1, returns do
      if found[3 + i] == ARGV[at + 1] then
        n = n + 1
        gone[n], unlocked[n] = ARGV[at], keys[3 + i]
        if digits then digits[i] = '1' end
      else
        if not digits then
          digits = {}
          for j = 1, i - 1 do digits[j] = '1' end
        end
        digits[i] = '0'
      end
      at = at + 2
    end
    returned = digits and table.concat(digits) or string.rep('1', returns)
    if n > 0 then
      if takes == 0 then gone[n + 1] = tail end
      values = call('HMGET', pool, unpack(gone))
      if takes == 0 then gone[n + 1], tailValue = nil, values[n + 1] end
      local m = 0
      for i = 1, n do
        local value = values[i]
        if value then
          local e = '-1'
          if value ~= '#ALLOCATED||#ALLOCATED||-1' then
            e = sub(value, 25)
            if sub(value, 1, 24) ~= '#ALLOCATED||#ALLOCATED||' or over(e, sec) then return end
          end
          m = m + 1
          back[m], expiry[m] = gone[i], e
        end
      end
    end
  end

  -- Renewals. A record under the token means that the member was handed over: it need not be given back any more.
  local renewed, renew, confirmed = '', none, none
  if renewals > 0 then
    local digits, tokens = {}, {}
    renew, confirmed = {}, {}
    for i = 1, renewals do
      tokens[i] = ARGV[at + 1]
      if found[3 + returns + i] == tokens[i] then
        digits[i] = '1'
        renew[#renew + 1] = at
      else
        digits[i] = '0'
      end
      at = at + 3
    end
    renewed = table.concat(digits)
    local records = call('HMGET', KEYS[7], unpack(tokens))
    for i = 1, renewals do
      if records[i] then
        local ok, r = pcall(cmsgpack.unpack, records[i])
        if not ok or type(r) ~= 'table' then return end
        if r[9] then
          if type(r[9]) ~= 'table' or #r[9] ~= 1 or r[9][1] ~= ARGV[2 + 2 * returns + 3 * i] then return end
          confirmed[#confirmed + 1] = tokens[i]
        end
      end
    end
  end

  local fine, cursor = true, nil
  if riding > 0 then fine, cursor = ride(us) end
  if not fine then return end

  -- Takes: from the head of the list, then what was just given back.
  local taken, locks, listed, write, n, headNext, headExpiry = none, none, 0, { pool }, 1, nil, nil
  if takes > 0 then
    local prev = ''
    taken, locks = {}, {}
    while head ~= '' do
      local next, e = linksOf(call('HGET', pool, head), prev)
      if not next then return end
      if listed == takes then
        headNext, headExpiry = next, e
        break
      end
      write[n + 1] = head
      if e == '-1' then write[n + 2] = '#ALLOCATED||#ALLOCATED||-1'
      elseif over(e, sec) then return
      else write[n + 2] = '#ALLOCATED||#ALLOCATED||' .. e end
      n = n + 2
      listed = listed + 1
      taken[listed], locks[listed] = head, lockPrefix .. head
      prev, head = head, next
    end
    if head == '' and prev ~= tail then return end
    locks[listed + 1] = KEYS[6]
    if call('EXISTS', unpack(locks)) > 0 then return end -- one is locked, or somebody waits
    locks[listed + 1] = nil
    if listed == 0 and #gone == 0 then call('HLEN', pool) end -- fails on a key of another type
  end
  local again = math.min(takes - listed, #back)
  for i = 1, again do
    taken[listed + i], locks[listed + i] = back[i], lockPrefix .. back[i]
  end

  -- The free list.
  local first = back[again + 1]
  if first then
    local last = tail
    if head == '' then
      head, last = first, ''
    elseif head == tail and listed > 0 then
      if headNext ~= '' then return end
      headNext = first
    else
      tailValue = tailValue or call('HGET', pool, tail)
      if not tailValue then return end
      local front, e
      if sub(tailValue, -6) == '||||-1' then front, e = sub(tailValue, 1, -5), '||-1'
      else front, e = match(tailValue, '^(.*||)(||[^|]*)$') end
      if not front or front == '#ALLOCATED||' then return end
      write[n + 1], write[n + 2] = tail, front .. first .. e
      n = n + 2
    end
    for i = again + 1, #back do
      write[n + 1], write[n + 2] = back[i], last .. '||' .. (back[i + 1] or '') .. '||' .. expiry[i]
      n = n + 2
      last = back[i]
    end
    tail = last
  elseif head == '' then
    tail = ''
  end
  if headNext and listed > 0 then
    write[n + 1], write[n + 2] = head, '||' .. headNext .. '||' .. headExpiry
    n = n + 2
  end

  -- From here on it writes; see flush in prelude.lua.
  if again > 0 then -- these go from hand to hand
    local n, skipped = 0, 0
    for i = 1, #gone do
      if values[i] and skipped < again then skipped = skipped + 1
      else
        n = n + 1
        gone[n], unlocked[n] = gone[i], unlocked[i]
      end
    end
    for i = #gone, n + 1, -1 do gone[i], unlocked[i] = nil, nil end
  end
  if #gone > 0 then
    call('DEL', unpack(unlocked))
    call('ZREM', leases, unpack(gone))
  end
  if n > 1 then call('HSET', unpack(write)) end

  local reply = { returned, renewed, 0 }
  local ttl, score -- a text for neighbours that have the same
  if #taken > 0 then
    fence = math.max(fence + 1, us)
    reply[3] = fence
    fence = string.format('%.0f', fence + #taken - 1)
    if head ~= head0 or tail ~= tail0 then call('MSET', KEYS[2], head, KEYS[3], tail, KEYS[5], fence)
    else call('SET', KEYS[5], fence) end
    local index = { leases }
    for i = 1, #taken do
      if ttl ~= ARGV[at + 1] then
        ttl = ARGV[at + 1]
        score = string.format('%.0f', ttl == '-1' and FOREVER + ms or ms + ttl)
      end
      if ttl == '-1' then call('SET', locks[i], ARGV[at]) else call('PSETEX', locks[i], ttl, ARGV[at]) end
      index[2 * i], index[2 * i + 1] = score, taken[i]
      reply[i + 3] = taken[i]
      at = at + 2
    end
    call('ZADD', unpack(index))
  elseif head ~= head0 then call('MSET', KEYS[2], head, KEYS[3], tail)
  elseif tail ~= tail0 then call('SET', KEYS[3], tail)
  end
  if #renew > 0 then
    local index = { leases, 'XX' }
    for i = 1, #renew do
      local j = renew[i]
      if ttl ~= ARGV[j + 2] then
        ttl = ARGV[j + 2]
        score = string.format('%.0f', ttl == '-1' and FOREVER + ms or ms + ttl)
      end
      if ttl == '-1' then call('PERSIST', lockPrefix .. ARGV[j]) else call('PEXPIREAT', lockPrefix .. ARGV[j], score) end
      index[2 * i + 1], index[2 * i + 2] = score, ARGV[j]
    end
    call('ZADD', unpack(index))
  end
  if #confirmed > 0 then call('HDEL', KEYS[7], unpack(confirmed)) end
  if cursor then call('SET', KEYS[9], cursor) end
  return reply
end

if allPlain and (not waiting or #waiting == 0) then
  local reply = fast(waiting)
  if reply then return reply end
end

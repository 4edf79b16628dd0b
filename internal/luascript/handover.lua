-- The common case of exchange where somebody waits: members are given back, one to each, to those who are first in
-- line and want any one. Put in front of exchange, behind one; what it does not know it leaves, having written nothing, to the rest
-- of the script.
--
-- KEYS, ARGV and reply are those of exchange.lua where all is plain.

-- waiting are the first in line, one more than there are members given back.
local function handover(waiting)
  local call, unpack, sub = redis.call, unpack, string.sub
  local KEYS, ARGV = KEYS, ARGV
  local leases, lockPrefix = KEYS[4], ARGV[1]

  local clock = call('TIME')
  local sec = tonumber(clock[1])
  local us = sec * 1000000 + clock[2]
  local ms = math.floor(us / 1000)
  local due = tonumber(call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2])
  if not due or due < ms then return end

  local keys, members, digits, seen, back = { KEYS[2], KEYS[5] }, {}, {}, {}, {}
  for i = 1, returns do
    members[i] = ARGV[3 + 2 * i]
    keys[i + 2] = lockPrefix .. members[i]
  end
  local owners, values = call('MGET', unpack(keys)), call('HMGET', KEYS[1], unpack(members))
  local fence = tonumber(owners[2] or nil)
  if owners[1] ~= '' or not fence then return end -- if a member is free, the first in line waits for something else
  for i = 1, returns do
    local member, value = members[i], values[i]
    if owners[i + 2] == ARGV[4 + 2 * i] and not seen[member] then
      if not value or sub(value, 1, 24) ~= '#ALLOCATED||#ALLOCATED||' then return end
      local expiry = sub(value, 25)
      if expiry ~= '-1' and (tonumber(expiry) or 0) <= sec then return end
      digits[i], seen[member], back[#back + 1] = '1', true, member
    else
      digits[i] = '0'
    end
  end
  if #waiting < #back then return end

  local texts, taken, alive = call('HMGET', KEYS[7], unpack(waiting)), {}, {}
  for i = 1, #back do
    local ok, r = pcall(cmsgpack.unpack, texts[i])
    if not ok or type(r) ~= 'table' or type(r[1]) ~= 'string' or type(r[2]) ~= 'number' or r[3] ~= 1 or r[4] ~= 0
      or r[5] ~= '' or type(r[7]) ~= 'table' or #r[7] > 0 or r[9] then
      return
    end
    if alive[r[1]] == nil then alive[r[1]] = tonumber(call('ZSCORE', KEYS[8], r[1]) or 0) >= ms end
    if not alive[r[1]] then return end
    taken[i] = r
  end

  -- From here on it writes.
  local index, records, gone = { leases }, { KEYS[7] }, { KEYS[6] }
  for i = 1, #back do
    local member, token, r = back[i], waiting[i], taken[i]
    fence = math.max(fence + 1, us)
    call('PSETEX', lockPrefix .. member, r[2], token)
    index[2 * i], index[2 * i + 1] = ms + r[2], member
    r[9], r[10], r[11] = { member }, { fence }, ms + r[2]
    records[2 * i], records[2 * i + 1] = token, cmsgpack.pack(r)
    gone[i + 1] = token
  end
  if #back > 0 then
    call('SET', KEYS[5], fence)
    call('HSET', unpack(records))
    call('ZADD', unpack(index))
    call('ZREM', unpack(gone))
    local ok, r = pcall(cmsgpack.unpack, texts[#back + 1])
    if ok and type(r) == 'table' and type(r[1]) == 'string' then -- it has to watch the deadlines from now on
      local front = waiting[#back + 1]
      due = tonumber(call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2])
      due = due < FOREVER and string.format('%.0f', math.max(due - ms, 0)) or '-1'
      redis.pcall('PUBLISH', ARGV[3] .. r[1], '1:F' .. #front .. ':' .. front .. #due .. ':' .. due)
    end
    for i = #back, 1, -1 do -- what is published last leaves the server first
      local token, member, fence = waiting[i], back[i], string.format('%.0f', taken[i][10][1])
      redis.pcall('PUBLISH', ARGV[3] .. taken[i][1],
        '1:G' .. #token .. ':' .. token .. #member .. ':' .. member .. #fence .. ':' .. fence)
    end
  end
  return { table.concat(digits), '', 0 }
end

if allPlain and returns > 0 and renewals + takes + riding == 0 then
  waiting = waiting or redis.call('ZRANGE', KEYS[6], 0, returns)
  local reply = #waiting > 0 and handover(waiting)
  if reply then return reply end
end

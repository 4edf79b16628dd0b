-- One name, alone, for which others wait: a lone caller enters its line, or unlocks it and so hands it to the first in
-- line. Put in front of lockexchange, behind lockone. It is the same step where those in front wait for this name alone,
-- too; all else it leaves, having written nothing, to what follows.
--
-- KEYS and ARGV are those of lockone.lua, the reply, too.

if form == 'unlock' and owner == ARGV[3] then
  -- record gives what one in line asked for, if it is this name, alone, and he has been granted nothing.
  local function record(text, name)
    local ok, r
    if text then ok, r = pcall(cmsgpack.unpack, text) end
    if not ok or type(r) ~= 'table' or type(r[1]) ~= 'string' or type(r[2]) ~= 'number' then return nil end
    local items = r[4]
    if type(items) ~= 'table' or #items ~= 3 or items[1] ~= name or items[2] ~= 0 or r[5] then return nil end
    return r
  end

  local function turn()
    local call, lock, line, requests, token = redis.call, KEYS[1], KEYS[2], KEYS[4], ARGV[3]
    if call('EXISTS', KEYS[3]) == 1 then return end
    local fenceKey, _, processes, _, _, lockPrefix, _, _, _, _, wakePrefix = struct.unpack('sssssssssss', ARGV[1])
    local name = string.sub(lock, #lockPrefix + 1)
    local waiting = call('ZRANGE', line, 0, 1)
    local heir, front = waiting[1], waiting[2]
    local texts = call('HMGET', requests, token, unpack(waiting))
    local claimed = texts[1] -- and not renewed
    if claimed then
      local ok, r = pcall(cmsgpack.unpack, claimed)
      local mine = ok and type(r) == 'table' and r[5]
      if type(mine) ~= 'table' or #mine ~= 1 or mine[1] ~= name then return end
    end
    if not heir then
      if claimed then call('HDEL', requests, token) end
      return call('DEL', lock)
    end
    local next, behind = record(texts[2], name), record(texts[3], name)
    if not next or front and not behind then return end -- who waits for other names, too, has to watch all their leases
    local clock = call('TIME')
    local us = clock[1] * 1000000 + clock[2]
    local ms = math.floor(us / 1000)
    if (tonumber(call('ZSCORE', processes, next[1])) or 0) < ms then return end
    local fence = math.max((tonumber(call('GET', fenceKey) or nil) or 0) + 1, us)
    local text, claim = string.format('%.0f', fence), string.format('%.0f', next[2])

    -- From here on it writes. What is published last leaves the server first.
    if claimed then call('HDEL', requests, token) end
    call('ZREM', line, heir)
    call('SET', fenceKey, text)
    call('PSETEX', lock, claim, heir)
    next[5], next[6], next[7] = { name }, { fence }, ms + next[2]
    call('HSET', requests, heir, cmsgpack.pack(next))
    if front then -- it has to watch the lease from now on
      redis.pcall('PUBLISH', wakePrefix .. behind[1], '1:H' .. #front .. ':' .. front .. #claim .. ':' .. claim)
    end
    redis.pcall('PUBLISH', wakePrefix .. next[1], '1:L' .. #heir .. ':' .. heir .. #name .. ':' .. name .. #text .. ':' .. text)
    return 1
  end

  local reply = turn()
  if reply then return reply end
elseif form == 'enter' and owner and owner ~= SHARED then
  -- For so many ms the last word of a process is good enough: it has also kept what all lines share. That is far less than
  -- what passes between two beats.
  local FRESH = 500

  local function turn()
    local call = redis.call
    local lock, line, requests, processes, token, process = KEYS[1], KEYS[2], KEYS[5], KEYS[6], ARGV[3], ARGV[5]
    local front = call('ZRANGE', line, 0, 0, 'WITHSCORES')[2]
    local clock = call('TIME')
    local us = clock[1] * 1000000 + clock[2]
    local ms = math.floor(us / 1000)
    if call('ZCOUNT', processes, '-inf', ms - 1) > 0 then return end -- who waits for nothing may be in front
    local sequence = tonumber(call('GET', KEYS[7]) or nil)
    local seen = tonumber(call('ZSCORE', processes, process) or nil)
    local fresh = sequence and seen and seen >= ms + LIFE - FRESH
    local name = string.sub(lock, #select(6, struct.unpack('ssssss', ARGV[1])) + 1)

    if call('HGET', requests, token) then return end

    -- From here on it writes.
    call('HSET', requests, token, cmsgpack.pack({ process, tonumber(ARGV[6]), us, { name, 0, 0 } }))
    sequence = (sequence or 0) + 1
    local place = sequence - ARGV[7] * CLASS
    local first = not front or place < tonumber(front)
    call('ZADD', line, place, token)
    if fresh then
      call('SET', KEYS[7], sequence, 'KEEPTTL')
    else
      call('SET', KEYS[7], sequence, 'PX', KEEP)
      call('ZADD', processes, ms + LIFE, process)
      call('PEXPIRE', processes, KEEP)
    end
    if first or not fresh then -- both may be new
      call('PEXPIRE', line, KEEP)
      call('PEXPIRE', requests, KEEP)
    end
    return { '', '', { 2, first and 1 or 0, first and call('PTTL', lock) or -1, seen and 1 or 0 } }
  end

  local reply = turn()
  if reply then return reply end
end
if form == 'lock' or form == 'unlock' or form == 'enter' then ARGV = alone() end

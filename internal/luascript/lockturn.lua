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
    local fenceKey, _, processes, _, _, lockPrefix, _, _, _, _, wakePrefix = struct.unpack('sssssssssss', ARGV[1])
    local name = string.sub(lock, #lockPrefix + 1)
    if call('EXISTS', KEYS[3]) == 1 then return end
    local waiting = call('ZRANGE', line, 0, 1)
    local texts = call('HMGET', requests, token, unpack(waiting))
    local mine, next, behind
    if texts[1] then -- a claim that has not been renewed
      local ok, r = pcall(cmsgpack.unpack, texts[1])
      if not ok or type(r) ~= 'table' then return end
      mine = r[5]
      if type(mine) ~= 'table' or #mine ~= 1 or mine[1] ~= name then return end
    end
    local clock = call('TIME')
    local us = clock[1] * 1000000 + clock[2]
    local ms = math.floor(us / 1000)
    local fence = call('GET', fenceKey)
    if #waiting > 0 then
      next = record(texts[2], name)
      if not next or (tonumber(call('ZSCORE', processes, next[1])) or 0) < ms then return end
      behind = record(texts[3], name)
      if waiting[2] and not behind then return end -- who waits for other names, too, has to watch all their leases
    end

    -- From here on it writes.
    if mine then call('HDEL', requests, token) end
    if not next then return call('DEL', lock) end
    local heir, claim = waiting[1], string.format('%.0f', next[2])
    call('ZREM', line, heir)
    fence = math.max((tonumber(fence) or 0) + 1, us)
    local text = string.format('%.0f', fence)
    call('SET', fenceKey, text)
    call('PSETEX', lock, claim, heir)
    next[5], next[6], next[7] = { name }, { fence }, ms + next[2]
    call('HSET', requests, heir, cmsgpack.pack(next))
    call('PUBLISH', wakePrefix .. next[1], '1:L' .. #heir .. ':' .. heir .. #name .. ':' .. name .. #text .. ':' .. text)
    local front = waiting[2]
    if behind then -- it has to watch the lease from now on
      call('PUBLISH', wakePrefix .. behind[1], '1:H' .. #front .. ':' .. front .. #claim .. ':' .. claim)
    end
    return 1
  end

  local reply = turn()
  if reply then return reply end
elseif form == 'enter' and owner and owner ~= SHARED then
  local FRESH = 500 -- ms for which the last word of a process is good enough; far less than what passes between two beats

  local function turn()
    local call = redis.call
    local lock, line, requests, processes, token, process = KEYS[1], KEYS[2], KEYS[5], KEYS[6], ARGV[3], ARGV[5]
    if call('ZSCORE', line, token) then return end
    local clock = call('TIME')
    local us = clock[1] * 1000000 + clock[2]
    local ms = math.floor(us / 1000)
    if call('ZCOUNT', processes, '-inf', '(' .. ms) > 0 then return end -- who waits for nothing may be in front
    local sequence = call('GET', KEYS[7])
    local seen = tonumber(call('ZSCORE', processes, process) or nil)
    local name = string.sub(lock, #select(6, struct.unpack('ssssss', ARGV[1])) + 1)

    -- From here on it writes.
    sequence = (tonumber(sequence) or 0) + 1
    call('HSET', requests, token, cmsgpack.pack({ process, tonumber(ARGV[6]), us, { name, 0, 0 } }))
    call('SET', KEYS[7], string.format('%.0f', sequence), 'PX', KEEP)
    call('ZADD', line, string.format('%.0f', sequence - ARGV[7] * CLASS), token)
    if not seen or seen < ms + LIFE - FRESH then
      call('ZADD', processes, ms + LIFE, process)
      call('PEXPIRE', processes, KEEP)
    end
    call('PEXPIRE', line, KEEP)
    call('PEXPIRE', requests, KEEP)
    local first = call('ZRANGE', line, 0, 0)[1] == token and 1 or 0
    return { '', '', { 2, first, call('PTTL', lock), seen and 1 or 0 } }
  end

  local reply = turn()
  if reply then return reply end
end
if form == 'lock' or form == 'unlock' or form == 'enter' then ARGV = alone() end

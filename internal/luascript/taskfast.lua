-- What is wanted of tasks most: put in front of tasks.lua and of taskexchange.lua, whose arguments and reply it has. New tasks
-- of one queue, of the normal class and due at once, reports that its tasks are done or have failed at the first attempt, and
-- one listener that fetches from it alone, and only new tasks; not new tasks and a listener at once. It does in one stretch, without all that tasks.lua makes
-- ready, what that would do, and leaves everything else to it, before anything has changed.
local function plain()
  local reports, submits, fetches = string.match(ARGV[3], '^(%d+) 0 (%d+) (%d+) fast$')
  if not reports then return end
  reports, submits, fetches = tonumber(reports), tonumber(submits), tonumber(fetches)
  local call, try = redis.call, redis.pcall
  local fenceKey, taskPrefix, resultPrefix, lane, lane1, lane2, schedule, running, _, listeners, idle, totals, ghosts, promises,
    pausedKey, _, listen, wakePrefix, alone = struct.unpack('sssssssssssssssssss', ARGV[1])
  local process = ARGV[2]
  local clock = call('TIME')
  local us = clock[1] * 1000000 + clock[2]
  local ms = math.floor(us / 1000)
  local now = string.format('%.0f', ms)
  local BEYOND, LONG, SMALL, BYTES, KEEP = 1e15, 100, 16384, 4194304, 60000

  -- What there is.
  local at, name, seen, records = 4, nil, {}, {}
  for i = 1, reports do
    local id, token = ARGV[at], ARGV[at + 1]
    local v = try('HMGET', taskPrefix .. id, 's', 'q', 'x', 'k', 'u', 'z', 'n', 'w', 'e')
    if v.err or v[1] ~= 'r' or not v[2] or v[5] ~= token or v[7] ~= '1' or v[9] or seen[id] or name and name ~= v[2] then return end
    local x, z = tonumber(v[3] or 0), tonumber(v[6] or 0)
    if not x or not z or not (x > ms and z > ms and x < BEYOND and z < BEYOND) or not v[4]
      or string.find(token, '[%c"\\]') then return end
    v.submitted, v.kept, v.class, v.digest = string.match(v[4], '^(%d+) (%d+) %d+ %d+ ([012]) (.*)$')
    if not v.digest or string.find(v[3], '%D') or v.kept + 0 < 1 or v.kept + 0 > BEYOND then return end
    name, seen[id], records[i] = v[2], true, v
    at = at + 4
  end
  if reports > 0 and string.find(name, '[%c"\\]') then return end

  local new, keys, forgotten = {}, {}, {}
  for i = 1, submits do
    local id = ARGV[at]
    name = name or ARGV[at + 1]
    if name ~= ARGV[at + 1] or seen[id] then return end
    seen[id], new[i] = true, id
    keys[2 * i - 1], keys[2 * i] = taskPrefix .. id, resultPrefix .. id
    at = at + 7
    if string.find(ARGV[at - 5], 'o', 1, true) then
      for old in string.gmatch(ARGV[at], '[^%z]+') do
        if old ~= id then forgotten[#forgotten + 1] = resultPrefix .. old end
      end
      at = at + 1
    end
  end
  local listener, token, ttl, mark, most, want
  if fetches > 0 then
    listener, token = ARGV[at], ARGV[at + 1]
    ttl, mark, most = string.match(ARGV[at + 2], '^(%d+) (%d+) (%d+) 0$')
    local queue, room = string.match(ARGV[at + 3], '^([^%z]+)%z(%d+)%z$')
    if not ttl or not queue or name and name ~= queue then return end
    name, want = queue, 0
    for class, n in string.gmatch(ARGV[at + 4], '0 (%d) (%d+) ') do want = want + (class == '0' and n or 0) end
    most = math.min(tonumber(most), tonumber(room))
    if want < most then return end
    want, ttl, mark = most, tonumber(ttl), tonumber(mark)
  end
  lane, running, idle, listeners = lane .. name, running .. name, idle .. name, listeners .. name
  totals, schedule, listen, promises = totals .. name, schedule .. name, listen .. name, promises .. name
  local length, waiting = 0, 0
  if submits + fetches > 0 then length, waiting = call('LLEN', lane), call('ZCARD', idle) end
  if reports > 0 then
    call('ZCARD', running)
    call('HLEN', totals)
  end
  local rouse = {}
  if submits > 0 then
    keys[#keys + 1] = pausedKey
    call('ZCARD', listeners)
    if length > LONG and us % 16 == 0 or call('EXISTS', unpack(keys)) > 0 then return end
    if waiting > 0 then
      rouse = call('ZRANGE', idle, '0', submits - 1)
      for i = 1, #rouse do
        if string.find(rouse[i], '^[^ ]+,') or tonumber(call('ZSCORE', listeners, rouse[i]) or 0) < ms then return end
      end
    end
  end

  local granted, ids, bytes, fence, member, due = {}, {}, 0, 0, nil, BEYOND
  if fetches > 0 then
    member = process .. ' ' .. listener
    if waiting > 0 and length >= want or call('EXISTS', lane1 .. name, lane2 .. name, ghosts .. name, pausedKey) > 0 then return end
    local a, b = call('ZRANGE', running, '0', '0', 'WITHSCORES')[2], call('ZRANGE', schedule, '0', '0', 'WITHSCORES')[2]
    due = math.min(tonumber(a or BEYOND), tonumber(b or BEYOND))
    if not (due > ms) then return end
    if want > 0 and length > 0 then
      fence = tonumber(call('GET', fenceKey) or 0)
      if not fence or not (fence >= 0 and fence < 9e15) then return end
    end
    if want > 0 and length > 0 then ids = call('LRANGE', lane, '0', want - 1) end
    for i = 1, #ids do
      local list = try('HGETALL', taskPrefix .. ids[i])
      if list.err or #list > 20 or seen[ids[i]] then return end
      local v = {}
      for j = 1, #list, 2 do v[list[j]] = list[j + 1] end
      if v.s ~= 'w' or v.q ~= name or not v.k or not v.x or v.n or v.y or v.e or v.r or v.w and string.find(v.w, '+', 1, true) then return end
      local x = tonumber(v.x)
      v.t = string.match(v.k, '^(%d+) %d+ %d+ %d+ 0 ')
      if not v.t or string.find(v.x, '%D') or not x or not (x > ms and x < BEYOND) then return end
      bytes = bytes + #(v.p or '') + #(v.m or '')
      if bytes > BYTES then return end
      v.z = x < ms + ttl and x or nil
      granted[i], seen[ids[i]] = v, true
    end
  end

  -- What is done about it. No longer texts are made than have to be: Lua looks at each byte of each.
  local words, processes = {}, {}
  local function tell(to, a, b, c)
    local list = words[to]
    if not list then
      list = { '1:T' }
      words[to], processes[#processes + 1] = list, to
    end
    local n = #list
    list[n + 1], list[n + 2], list[n + 3] = a, b, c
  end

  local over, ran, done = {}, {}, 0
  if reports > 0 then call('DEL', taskPrefix) end -- also without memory, see taskexchange.lua
  at = 4
  for i = 1, reports do
    local id, v, data = ARGV[at], records[i], ARGV[at + 3]
    local failed = ARGV[at + 2] == 'f'
    if not failed then done = done + 1 end
    local text = (failed and '{"state":"failed","queue":"' or '{"state":"done","queue":"') .. name .. '","class":' .. v.class
      .. ',"attempts":1,"deaths":0,"submitted":' .. v.submitted .. ',"deadline":' .. v[3]
      .. ',"finished":' .. now .. (v.digest ~= '' and ',"digest":"' .. v.digest .. '"' or '') .. ',"token":"' .. v[5] .. '"'
      .. (data ~= '' and ',' .. data or '') .. '}'
    call('SET', resultPrefix .. id, text, 'PX', v.kept)
    over[i], ran[i] = taskPrefix .. id, id
    if v[8] and v[8] ~= '' then
      if #text > SMALL then text = '' end
      local front = '1:f' .. #id .. ':' .. id .. #text .. ':'
      for to in string.gmatch(v[8], '+?(%S+)') do tell(to, front, text) end
    end
    at = at + 4
  end
  if reports > 0 then
    call('ZREM', running, unpack(ran))
    call('UNLINK', unpack(over))
    if done > 0 and type(try('HINCRBY', totals, 'done', done)) ~= 'number' then call('HSET', totals, 'done', done) end
    local failed = reports - done
    if failed > 0 and type(try('HINCRBY', totals, 'failed', failed)) ~= 'number' then call('HSET', totals, 'failed', failed) end
  end

  local x0, timeout0
  for i = 1, submits do
    local flags, timeout, key = ARGV[at + 2], ARGV[at + 3], keys[2 * i - 1]
    if timeout ~= timeout0 then timeout0, x0 = timeout, string.format('%.0f', ms + timeout) end
    local k = now .. ' ' .. ARGV[at + 5]
    if string.find(flags, 'w', 1, true) then
      local w = (string.find(flags, '+', 1, true) and '+' or '') .. process .. ' '
      call('HSET', key, 's', 'w', 'q', name, 'x', x0, 'k', k, 'p', ARGV[at + 6], 'w', w)
    else
      call('HSET', key, 's', 'w', 'q', name, 'x', x0, 'k', k, 'p', ARGV[at + 6])
    end
    call('PEXPIRE', key, ARGV[at + 4])
    at = at + (string.find(flags, 'o', 1, true) and 8 or 7)
  end
  for from = 1, #forgotten, 1000 do call('UNLINK', unpack(forgotten, from, math.min(from + 999, #forgotten))) end
  local reply = { ms, string.rep('1', reports), '', string.rep('C', submits) }
  if submits > 0 then
    call('RPUSH', lane, unpack(new))
    if #rouse > 0 then call('ZREM', idle, unpack(rouse)) end
    for i = 1, #rouse do
      local to, who = string.match(rouse[i], '^([^ ]+) (.*)$')
      if to then tell(to, '1:w', #who .. ':', who) end
    end
  end

  if fetches > 0 then
    call('ZADD', listeners, string.format('%.0f', ms + mark), member)
    local left = call('PTTL', listen)
    if left < mark - mark / 16 then
      call('SET', listen, 'redisallocator', 'PX', mark)
      call('ZREMRANGEBYSCORE', listeners, '-inf', '(' .. now)
      local longest = call('ZRANGE', listeners, -1, -1, 'WITHSCORES')
      call('PEXPIREAT', listeners, string.format('%.0f', tonumber(longest[2]) + KEEP))
    elseif left > mark then
      local longest = tonumber(call('ZRANGE', listeners, -1, -1, 'WITHSCORES')[2])
      if ms + left > longest + 1 and try('GET', listen) == 'redisallocator' then
        call('PEXPIREAT', listen, string.format('%.0f', longest))
      end
    end
    local ends, runs, grants = string.format('%.0f', ms + ttl), {}, {}
    for i = 1, #ids do
      local v, id = granted[i], ids[i]
      local z = v.z and v.x or ends
      call('HSET', taskPrefix .. id, 's', 'r', 'u', token, 'z', z, 'n', '1', 'l', member)
      runs[2 * i - 1], runs[2 * i] = z, id
      grants[i] = { id, '1 0 1 0 ' .. v.t .. ' ' .. v.x .. ' ' .. z, v.p or '', v.m }
      due = math.min(due, v.z or ms + ttl)
    end
    if #ids > 0 then
      call('LPOP', lane, #ids)
      call('ZADD', running, unpack(runs))
      fence = math.max(fence + 1, us)
      call('SET', fenceKey, string.format('%.0f', fence + #ids - 1))
    end
    local room, next = #ids < want, -1
    if room then
      if call('ZADD', idle, 'NX', us + 1, member) == 1 then call('PEXPIRE', idle, mark + KEEP) end
      if reports > 0 then -- it may have been one of theirs
        local a, b = call('ZRANGE', running, '0', '0', 'WITHSCORES')[2], call('ZRANGE', schedule, '0', '0', 'WITHSCORES')[2]
        due = math.min(tonumber(a or BEYOND), tonumber(b or BEYOND))
      end
      if due < BEYOND then
        local n = 0
        due = string.format('%.0f', due)
        local others = try('ZRANGEBYSCORE', promises, now, due, 'LIMIT', '0', '4')
        for i = 1, #others do
          if others[i] ~= member then
            if tonumber(call('ZSCORE', listeners, others[i]) or 0) >= ms then n = n + 1 else try('ZREM', promises, others[i]) end
          end
        end
        if n < 2 then
          try('ZADD', promises, due, member)
          try('PEXPIRE', promises, mark + KEEP)
          next = math.max(due - ms, 0)
        else
          try('ZREM', promises, member)
        end
      else
        try('ZREM', promises, member)
      end
    else
      try('ZREM', promises, member)
      call('ZREM', idle, member)
    end
    reply[5] = { room and 1 or 0, next, string.format('%.0f', fence), unpack(grants) }
  end

  -- A process that is gone has not been woken: others are.
  local lost = 0
  for i = 1, #processes do
    local to = processes[i]
    if try('PUBLISH', wakePrefix .. to, table.concat(words[to])) == 0 and alone == '1' then
      for j = 1, #rouse do
        if string.sub(rouse[j], 1, #to + 1) == to .. ' ' then lost = lost + 1 end
      end
    end
  end
  while lost > 0 do
    local found = call('ZPOPMIN', idle)
    if #found == 0 then break end
    local to, who = string.match(found[1], '^([^ ,]+)[ ,](.*)$')
    if to and try('PUBLISH', wakePrefix .. to, '1:T1:w' .. #who .. ':' .. who) ~= 0 then lost = lost - 1 end
  end
  return reply
end

do
  local reply = plain()
  if reply then return reply end
end

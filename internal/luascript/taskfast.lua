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

  -- number gives a whole number; 0 if it is none.
  local function number(text) return text and not string.find(text, '%D') and tonumber(text) or 0 end

  -- What there is. What a task has in common with the one before, as it mostly does, is read and written once.
  local at, name, seen, records, over, ran = 4, nil, {}, {}, {}, {}
  local token, k, terms, x, deadline, z, lease
  for i = 1, reports do
    local id, key = ARGV[at], taskPrefix .. ARGV[at]
    local v = try('HMGET', key, 's', 'q', 'x', 'k', 'u', 'z', 'n', 'w', 'e')
    if v.err or v[1] ~= 'r' or not v[2] or not v[4] or v[5] ~= ARGV[at + 1] or v[7] ~= '1' or v[9] or seen[id]
      or name and name ~= v[2] then return end
    if v[3] ~= x then x, deadline = v[3], number(v[3]) end
    if v[6] ~= z then z, lease = v[6], number(v[6]) end
    if v[4] ~= k then -- submitted, retention, class, digest
      k, terms = v[4], { string.match(v[4], '^(%d+) (%d+) %d+ %d+ ([012]) (.*)$') }
      local kept = number(terms[2])
      if not (terms[4] and kept >= 1 and kept <= BEYOND) then return end
    end
    if not (deadline > ms and lease > ms and deadline < BEYOND and lease < BEYOND) then return end
    if v[5] ~= token and string.find(v[5], '[%c"\\]') then return end
    name, token, v[4] = v[2], v[5], terms
    seen[id], records[i], over[i], ran[i] = true, v, key, id
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
      for old in string.gmatch(ARGV[at], '%Z+') do
        if old ~= id then forgotten[#forgotten + 1] = resultPrefix .. old end
      end
      at = at + 1
    end
  end
  local listener, ttl, mark, most, want
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

  local ids, grants, runs, bytes, fence, member, due = {}, {}, {}, 0, 0, nil, BEYOND
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
    local ends, last, submitted = ms + ttl, string.format('%.0f', ms + ttl), nil
    k = nil
    for i = 1, #ids do
      local id = ids[i]
      keys[i] = taskPrefix .. id
      local list = try('HGETALL', keys[i])
      if list.err or #list > 20 or seen[id] then return end
      local v = { s = '', q = '', x = '', k = '', p = '', w = '', m = false } -- with room for what mostly is there
      for j = 1, #list, 2 do v[list[j]] = list[j + 1] end
      if v.s ~= 'w' or v.q ~= name or v.n or v.y or v.e or v.r or string.find(v.w, '+', 1, true) then return end
      if v.x ~= x then x, deadline = v.x, number(v.x) end
      if v.k ~= k then k, submitted = v.k, string.match(v.k, '^(%d+) %d+ %d+ %d+ 0 ') end
      if not (submitted and deadline > ms and deadline < BEYOND) then return end
      bytes = bytes + #v.p + #(v.m or '')
      if bytes > BYTES then return end
      z = deadline < ends and x or last
      runs[2 * i - 1], runs[2 * i], seen[id] = z, id, true
      grants[i] = { id, '1 0 1 0 ' .. submitted .. ' ' .. x .. ' ' .. z, v.p, v.m or nil }
      due = math.min(due, deadline, ends)
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

  local done = 0
  local w, watchers, idSize, idFront, textSize, textFront -- of the one before
  if reports > 0 then call('DEL', taskPrefix) end -- also without memory, see taskexchange.lua
  at = 4
  for i = 1, reports do
    local id, v, data = ARGV[at], records[i], ARGV[at + 3]
    local failed = ARGV[at + 2] == 'f'
    if not failed then done = done + 1 end
    local t = v[4]
    local text = (failed and '{"state":"failed","queue":"' or '{"state":"done","queue":"') .. name .. '","class":' .. t[3]
      .. ',"attempts":1,"deaths":0,"submitted":' .. t[1] .. ',"deadline":' .. v[3]
      .. ',"finished":' .. now .. (t[4] ~= '' and ',"digest":"' .. t[4] .. '"' or '') .. ',"token":"' .. v[5] .. '"'
      .. (data ~= '' and ',' .. data or '') .. '}'
    call('SET', resultPrefix .. id, text, 'PX', t[2])
    if v[8] and v[8] ~= '' then
      if #text > SMALL then text = '' end
      if v[8] ~= w then
        w, watchers = v[8], {}
        for to in string.gmatch(w, '+?(%S+)') do watchers[#watchers + 1] = to end
      end
      if #id ~= idSize then idSize, idFront = #id, '1:f' .. #id .. ':' end
      if #text ~= textSize then textSize, textFront = #text, #text .. ':' end
      local front = idFront .. id .. textFront
      for j = 1, #watchers do tell(watchers[j], front, text) end
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

  local flags, timeout, rest, width
  for i = 1, submits do
    local key = keys[2 * i - 1]
    if ARGV[at + 2] ~= flags then
      flags = ARGV[at + 2]
      w = string.find(flags, 'w', 1, true) and (string.find(flags, '+', 1, true) and '+' or '') .. process .. ' '
      width = string.find(flags, 'o', 1, true) and 8 or 7
    end
    if ARGV[at + 3] ~= timeout then timeout, x = ARGV[at + 3], string.format('%.0f', ms + ARGV[at + 3]) end
    if ARGV[at + 5] ~= rest then rest, k = ARGV[at + 5], now .. ' ' .. ARGV[at + 5] end
    if w then
      call('HSET', key, 's', 'w', 'q', name, 'x', x, 'k', k, 'p', ARGV[at + 6], 'w', w)
    else
      call('HSET', key, 's', 'w', 'q', name, 'x', x, 'k', k, 'p', ARGV[at + 6])
    end
    call('PEXPIRE', key, ARGV[at + 4])
    at = at + width
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
    for i = 1, #ids do call('HSET', keys[i], 's', 'r', 'u', token, 'z', runs[2 * i - 1], 'n', '1', 'l', member) end
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

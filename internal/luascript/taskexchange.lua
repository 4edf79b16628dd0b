-- Reports, then renews, then submits, then fetches: one call for many callers.
--
-- KEYS  1 the fence
-- ARGV  2 the process that calls
--       3 "1 0 2 1 ": the numbers of reports, renewals, submissions and fetches; "fast" behind if taskfast.lua may do it
--       4... the reports, the renewals, the submissions, the fetches
--       report   id token kind data; kind: p progress, d done, f failed, r<ms> retry after that, x dead, b back; data: of p
--                the progress, of the others members of the JSON object of the final state: result or error
--       renewal  id token ttl
--       submission  id queue flags timeout life, k of tasks.lua from retention on, payload, and those of the flags, each with
--                its argument, in this order: m meta  d delay  o ids to forget, with NUL behind each. Without one:
--                g not fresh  h high  l low  i if listened  w watch  + and progress
--       fetch    listener token "<ttl> <mark> <max> <1 to leave>", queues: "<name>\0<room>\0"...; lanes: "<queue> <class> <max> "...
-- Reply {now, a digit for each report, one for each renewal, a letter for each submission: C created, N nobody listens,
--       X conflict, J joined; for each that joined: info of tasks.lua, or the JSON text of the final state; for each
--       fetch {1 if idle, next in ms, fence of the first, task, ...}, the fences of the others follow}. Such a task is {id,
--       "<queue> <class> <attempts> <deaths> <submitted> <deadline> <end of the lease>", payload}, and up to the last that
--       is not empty meta, error and progress. The queue is its number in the request, from 1
-- Cost  one round trip; O(log tasks) for each item
local process = ARGV[2]
local reports, renewals, submits, fetches = string.match(ARGV[3], '^(%d+) (%d+) (%d+) (%d+) ')
reports, renewals, submits, fetches = tonumber(reports), tonumber(renewals), tonumber(submits), tonumber(fetches)

local LONG = 100 -- ids in a lane, from which on submissions look for some that have expired
local DUE = 100 -- tasks of a queue that are due or whose leases ran out, in one call
local SKIPPED = 1000 -- ids that turn out not to be waiting, in one call
local BYTES = 4194304 -- of payload and meta in the reply to one fetch, but for its last task
local KEEP = 60000 -- ms for which what is known of listeners is kept after the last one
local MARK = 'redisallocator' -- in the listening mark, if it is ours
local PROMISES = 2 -- so many listeners of a queue are told what is due next

local at = 4

local function argument()
  at = at + 1
  return ARGV[at - 1]
end

-- What is asked for, and all that may be written to is met.
local asked, renewed, new, listening = {}, {}, {}, {}

-- meetTask meets the queue of a task, as far as it is touched by what is said of it.
local function meetTask(r, kind, after)
  if not r or r.foreign then return end
  local q = queue(r.q)
  if q.all then return end
  if r.x <= ms or r.s == 'r' and r.z <= ms or r.s == 's' and r.a <= ms then
    q.all = true
    return meetAll(q)
  end
  local seen = q.seen
  if not seen then
    seen = {}
    q.seen = seen
  end
  if seen[kind] then return end
  meet(q, 'running')
  if kind == 'r' and after > 0 then return meet(q, 'schedule', 'idle', 'listeners'), paused(q) end
  seen[kind] = true
  if kind == 'd' or kind == 'f' then meet(q, 'totals')
  elseif kind == 'x' then meet(q, 'dead')
  elseif kind == 'r' or kind == 'b' then
    meet(q, 0, 1, 2, 'idle', 'listeners')
    paused(q)
  end
end

for i = 1, reports do
  local id, kind, after = ARGV[at], ARGV[at + 2], 0
  if #kind > 1 then kind, after = 'r', tonumber(string.sub(kind, 2)) end
  asked[i] = { id, ARGV[at + 1], kind, ARGV[at + 3], after }
  at = at + 4
  meetTask(task(id), kind, after)
end

for i = 1, renewals do
  renewed[i] = { ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]) }
  at = at + 3
  meetTask(task(renewed[i][1]), 'n')
end

local present = 0
do
  local keys = {}
  for i = 1, submits do
    local id, name, flags, timeout = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local q, class = queue(name), 0
    local s = {
      id = id, key = taskPrefix .. id, q = name, x = ms + timeout, life = ARGV[at + 4], k = now .. ' ' .. ARGV[at + 5],
      p = ARGV[at + 6], d = '', z = 0, n = 0, y = 0, a = 0, r = false, m = false,
    }
    at = at + 7
    for flag in string.gmatch(flags, '.') do
      if flag == 'w' then s.watch = true
      elseif flag == '+' then s.progress = true
      elseif flag == 'g' then s.d, s.digest = string.match(s.k, '^%d+ %d+ %d+ %d+ %d (.*)$'), true
      elseif flag == 'm' then s.m = argument()
      elseif flag == 'd' then s.delay = tonumber(argument())
      elseif flag == 'o' then s.forget = argument()
      elseif flag == 'h' then class = 1
      elseif flag == 'l' then class = 2
      elseif flag == 'i' then s.listened = true end
    end
    s.c, s.queue, new[i] = class, q, s
    if s.delay then meet(q, 'schedule', 'idle', 'listeners')
    elseif not q.met[class] or not q.met.idle then meet(q, class, 'idle', 'listeners') end
    if q.paused == nil then paused(q) end
    if (q.met[class] or 0) > LONG then meetAll(q) end
    keys[2 * i - 1], keys[2 * i] = s.key, resultPrefix .. id
  end
  if submits > 0 then present = call('EXISTS', unpack(keys)) end
  if present > 0 then
    for i = 1, submits do meetAll(new[i].queue) end
  end
end

for i = 1, fetches do
  local f = { listener = argument(), token = argument(), queues = {}, room = {}, grants = {} }
  f.ttl, f.mark, f.max, f.leave = string.match(argument(), '^(%d+) (%d+) (%d+) (%d)$')
  f.ttl, f.mark, f.left = tonumber(f.ttl), tonumber(f.mark), tonumber(f.max)
  for name, room in string.gmatch(argument(), '([^%z]+)%z(%d+)%z') do
    local q = queue(name)
    f.queues[#f.queues + 1], f.room[#f.queues + 1] = q, tonumber(room)
    meetAll(q)
    if not q.due then
      q.due = {
        call('ZRANGEBYSCORE', q.running, '-inf', now, 'LIMIT', 0, DUE),
        call('ZRANGEBYSCORE', q.schedule, '-inf', now, 'LIMIT', 0, DUE),
      }
    end
  end
  f.lanes = argument()
  f.member = process .. (#f.queues > 1 and ',' or ' ') .. f.listener
  listening[i] = f
end
if fetches > 0 and not fence then fence = lastFence() end

-- Reports.
local FINAL = { d = 'done', f = 'failed' }

-- before tells whether a report that does not fit any more was accepted before.
local function before(text, it)
  local state = FINAL[it[3]]
  return state and type(text) == 'string' and string.find(text, '{"state":"' .. state .. '"', 1, true) == 1
    and string.find(text, ',"token":' .. quoted(it[2]), 1, true) ~= nil
end

-- dues notes when something will be due, which a listener has to learn if it is the first.
local function dues(q, r, due)
  r.a, r.s = due, 's'
  local first = call('ZRANGE', q.schedule, 0, 0, 'WITHSCORES')[2]
  due = math.min(due, r.x)
  if (not first or due < tonumber(first)) and due < (q.soonest or due + 1) then
    q.soonest = due
    q.wakes = 1
  end
  q.comes = q.comes or {}
  add(q.comes, due, r.id)
end

local function report(it)
  local id, token, kind, data, after = unpack(it)
  local r = task(id)
  if not r then return before(result(id), it) end
  current(r)
  if r.final then return before(r.final, it) end
  if r.s ~= 'r' then return r.u == kind .. ' ' .. token end
  if r.u ~= token then return false end
  if kind == 'p' then
    call('HSET', r.key, 'r', data)
    r.r = data
    changes(r)
    return true
  end
  if FINAL[kind] then
    if kind == 'f' then r.e = '' end
    finish(r, FINAL[kind], ms, ',"token":' .. quoted(token) .. (data ~= '' and ',' .. data or ''))
    return true
  end
  local q, u = queue(r.q), kind .. ' ' .. token
  r.u = u
  if kind == 'b' then
    r.n = math.max(r.n - 1, 0)
    waits(r, true, 'u', u, 'n', r.n)
    return true
  end
  r.e = data
  if kind == 'x' then bury(r, '', ms, 'u', u, 'e', data)
  elseif after == 0 then waits(r, false, 'u', u, 'e', data)
  else
    leaves(r, q)
    call('HSET', r.key, 's', 's', 'u', u, 'e', data, 'a', ms + after)
    dues(q, r, ms + after)
    changes(r)
  end
  return true
end

-- A server without memory refuses what may need some, unless something was written before: whoever gives something back, or
-- keeps what he has, is let through by writing nothing.
if reports + renewals > 0 then call('DEL', taskPrefix) end

for i = 1, reports do asked[i] = report(asked[i]) and '1' or '0' end

-- Renewals.
local function renew(id, token, ttl)
  local r = task(id)
  if not r or r.foreign then return false end
  current(r)
  if r.s ~= 'r' or r.u ~= token then return false end
  r.z = ttl < 0 and r.x or math.min(ms + ttl, r.x)
  call('HSET', r.key, 'z', str(r.z))
  local q = queue(r.q)
  q.runs = q.runs or {}
  add(q.runs, str(r.z), id)
  return true
end

for i = 1, renewals do renewed[i] = renew(unpack(renewed[i])) and '1' or '0' end
if reports + renewals > 0 then settle() end

-- Submissions.
local joined = {}

-- join gives the letter of a submission whose id is there.
local function join(s, r, final)
  if r then
    if r.foreign or r.q ~= s.q or s.digest and r.d ~= s.d then return 'X' end
    current(r)
    if not r.final then
      if s.watch and r.s ~= 'd' then watch(r, process, s.progress) end
      joined[#joined + 1] = info(r)
      return 'J'
    end
    final = r.final
  end
  if final == true or s.digest and not string.find(final, ',"digest":"' .. s.d .. '"', 1, true) then return 'X' end
  joined[#joined + 1] = final
  return 'J'
end

local function submit(s)
  local id, q = s.id, s.queue
  local r = tasks[id]
  if r == nil and present > 0 then r = task(id) end
  local final = r and r.final or not r and present > 0 and result(id)
  if r or final then return join(s, not final and r or nil, final) end
  if s.listened and not listened(q) then return 'N' end
  s.t, s.kept, s.buried, s.most = string.match(s.k, '^(%d+) (%d+) (%d+) (%d+)')
  s.s = s.delay and 's' or 'w'
  if s.watch then s.w = (s.progress and '+' or '') .. process .. ' ' end
  if s.m or s.delay then
    local fields = { 's', s.s, 'q', s.q, 'x', str(s.x), 'k', s.k, 'p', s.p, 'w', s.w or '' }
    if s.m then add(fields, 'm', s.m) end
    if s.delay then add(fields, 'a', ms + s.delay) end
    call('HSET', s.key, unpack(fields))
  elseif s.w then
    call('HSET', s.key, 's', 'w', 'q', s.q, 'x', str(s.x), 'k', s.k, 'p', s.p, 'w', s.w)
  else
    call('HSET', s.key, 's', 'w', 'q', s.q, 'x', str(s.x), 'k', s.k, 'p', s.p)
  end
  call('PEXPIRE', s.key, s.life)
  tasks[id] = s
  if s.delay then dues(q, s, ms + s.delay) else lines(s, q, false) end
  return 'C'
end

local letters, swept, forgotten = {}, {}, {}
for i = 1, submits do
  local s = new[i]
  letters[i] = submit(s)
  if s.forget and (letters[i] == 'C' or letters[i] == 'J') then
    for id in string.gmatch(s.forget, '[^%z]+') do
      if id ~= s.id then forgotten[#forgotten + 1] = resultPrefix .. id end
    end
  end
end
for from = 1, #forgotten, 1000 do call('UNLINK', unpack(forgotten, from, math.min(from + 999, #forgotten))) end

-- sweep takes what has ended off the front of a long lane, so that it does not grow while nobody listens. It takes more than
-- was submitted, because not every step comes by here; see taskfast.lua.
local function sweep(q, class, n)
  local page = 1
  while n > 0 do
    local ids = call('LRANGE', q.lanes[class], 0, page - 1)
    for i = 1, #ids do
      local r = tasks[ids[i]] or task(ids[i])
      if r and not r.foreign and not r.final and r.s == 'w' and r.x > ms then return end
      call('LPOP', q.lanes[class])
      pop(q, class, ids[i])
    end
    if #ids < page then return end
    n, page = n - page, 50
  end
end

for i = 1, submits do
  local q, class = new[i].queue, new[i].c
  local key = q.lanes[class]
  if (q.met[class] or 0) > LONG and not swept[key] then
    swept[key] = true
    sweep(q, class, math.min(32 * submits, SKIPPED))
  end
end
if submits > 0 then settle() end

-- Fetches.
local function some(q)
  for class = 0, 2 do
    if not q[q.lanes[class]] and call('LLEN', q.lanes[class]) > 0 then return true end
  end
  return false
end

-- passOn has another listener woken if there still are tasks, for which this one, who is not idle, may have been woken.
local function passOn(q)
  if q.wakes == 0 and not paused(q) and some(q) then q.wakes = 1 end
end

-- shorten sees to it that the mark of a queue lasts no longer than its listeners.
local function shorten(q)
  local longest = tonumber(call('ZRANGE', q.listeners, -1, -1, 'WITHSCORES')[2] or 0)
  local left = call('PTTL', q.listen)
  if left >= 0 and ms + left > longest + 1 and try('GET', q.listen) == MARK then call('PEXPIREAT', q.listen, int(longest)) end
end

local function leaveQueues(f)
  for i = 1, #f.queues do
    local q = f.queues[i]
    call('ZREM', q.listeners, f.member)
    call('ZREM', q.idle, f.member)
    if try('ZREM', q.promises, f.member) == 1 then q.wakes = math.max(q.wakes, 1) end
    passOn(q)
    shorten(q)
  end
  if #f.queues > 1 then try('HDEL', idlers, f.member) end
end

-- lives notes that a listener does. What Python sees of it may end a little early.
local function lives(f)
  for i = 1, #f.queues do
    local q = f.queues[i]
    call('ZADD', q.listeners, ms + f.mark, f.member)
    local left = call('PTTL', q.listen)
    if left > f.mark then shorten(q)
    elseif left < f.mark - f.mark / 16 then
      call('SET', q.listen, MARK, 'PX', f.mark)
      call('ZREMRANGEBYSCORE', q.listeners, '-inf', '(' .. int(ms))
      local longest = call('ZRANGE', q.listeners, -1, -1, 'WITHSCORES')
      call('PEXPIREAT', q.listeners, int(tonumber(longest[2]) + KEEP))
    end
  end
end

-- notice sees to what is due and whose leases ran out.
local function notice(q)
  local due = q.due
  if due.seen then return end
  due.seen = true
  due.more = #due[1] == DUE or #due[2] == DUE
  for i = 1, 2 do
    local state, key = i == 1 and 'r' or 's', i == 1 and 'ran' or 'came'
    for j = 1, #due[i] do
      local id = due[i][j]
      local r = task(id)
      if r and r.foreign then foreign(q, id) end
      if not r or r.foreign or r.final or r.s ~= state or r.q ~= q.name then
        q[key] = q[key] or {}
        add(q[key], id)
      else
        current(r)
      end
    end
  end
end

local function grant(f, q, index, r)
  if r.p == nil then -- it was read without
    r.r, r.p, r.m = unpack(call('HMGET', r.key, 'r', 'p', 'm'))
  end
  local z, n = math.min(ms + f.ttl, r.x), r.n + 1
  r.z, r.n, r.s, r.u, r.popped = z, n, 'r', f.token, nil
  call('HSET', r.key, 's', 'r', 'n', str(n), 'u', f.token, 'l', f.member, 'z', str(z))
  local runs = q.runs or {}
  runs[#runs + 1], runs[#runs + 2], q.runs = str(z), r.id, runs
  if made[r.id] then
    made[r.id], q.made = nil, q.made - 1
  end
  local p, m, e, progress = r.p or '', r.m or '', r.e or '', r.r or ''
  local g = { r.id, str(index) .. ' ' .. str(r.c) .. ' ' .. str(n) .. ' ' .. str(r.y) .. ' ' .. r.t .. ' ' .. str(r.x) .. ' ' .. str(z), p }
  if progress ~= '' then g[4], g[5], g[6] = m, e, progress
  elseif e ~= '' then g[4], g[5] = m, e
  elseif m ~= '' then g[4] = m end
  draw()
  if not f.fence then f.fence = fence end
  local grants = f.grants
  grants[#grants + 1] = g
  if r.w then changes(r) end
  return #p + #m
end

-- take takes what there is in a lane, at most so many.
local function take(f, q, index, class, want)
  local lane = q.lanes[class]
  while want > 0 and not q[lane] do
    local ids = call('LPOP', lane, want)
    if not ids or #ids < want then q[lane] = true end
    ids = ids or {}
    local got = 0
    for i = 1, #ids do
      if f.cut then call('LPUSH', lane, ids[#ids + f.cut - i]) -- the last one first
      else
        local r = pop(q, class, ids[i])
        if r then
          f.bytes = f.bytes + grant(f, q, index, r)
          got = got + 1
        else
          f.skipped = f.skipped + 1
        end
        if f.bytes >= BYTES or f.skipped >= SKIPPED then f.cut = i + 1 end
      end
    end
    if f.cut then
      q[lane] = f.cut > #ids and q[lane] or nil
      return want, got
    end
    want = want - got
  end
  return want
end

local function fetch(f)
  f.bytes, f.skipped = 0, 0
  local full = {}
  for index, class, most in string.gmatch(f.lanes, '(%d+) (%d+) (%d+) ') do
    index, class, most = tonumber(index) + 1, tonumber(class), tonumber(most)
    local q = f.queues[index]
    if not paused(q) and not f.cut then
      local before = #f.grants
      take(f, q, index, class, math.min(f.left, f.room[index], most))
      local got = #f.grants - before
      f.left, f.room[index] = f.left - got, f.room[index] - got
      full[#full + 1] = { index, q.lanes[class] }
    end
  end
  -- idle, if nothing is left where there is room
  local rooms, names = 0, {}
  f.idle = not f.cut
  for i = 1, #full do
    local q, lane = f.queues[full[i][1]], full[i][2]
    if f.idle and f.left > 0 and f.room[full[i][1]] > 0 and not q[lane] then
      if call('LLEN', lane) > 0 then f.idle = false else q[lane] = true end
    end
  end
  for i = 1, #f.queues do
    local q = f.queues[i]
    if f.left > 0 and f.room[i] > 0 then
      rooms = rooms + 1
      names[rooms] = q.name
      if call('ZADD', q.idle, 'NX', us + rooms, f.member) == 1 then call('PEXPIRE', q.idle, f.mark + KEEP) end
    else
      call('ZREM', q.idle, f.member)
      passOn(q)
    end
  end
  f.idle = f.idle and rooms > 0
  if #f.queues > 1 then
    if rooms > 0 then
      try('HSET', idlers, f.member, table.concat(names, '\0') .. '\0')
      try('PEXPIRE', idlers, f.mark + KEEP)
    else
      try('HDEL', idlers, f.member)
    end
  end
end

for i = 1, fetches do
  local f = listening[i]
  if f.leave ~= '1' then
    lives(f)
    for j = 1, #f.queues do notice(f.queues[j]) end
  end
end
if fetches > 0 then settle() end
for i = 1, fetches do
  if listening[i].leave == '1' then leaveQueues(listening[i]) else fetch(listening[i]) end
end

flush()

-- promised counts the listeners that live and have been told to call by the time at.
local function promised(q, at)
  local found = try('ZRANGEBYSCORE', q.promises, int(ms), int(at), 'LIMIT', 0, 2 * PROMISES)
  local n = 0
  for i = 1, #found do
    if tonumber(call('ZSCORE', q.listeners, found[i]) or 0) >= ms then n = n + 1 else call('ZREM', q.promises, found[i]) end
  end
  return n
end

-- nextOf is when a listener has to call again, unless enough others do: -1.
local function nextOf(f)
  if f.cut then return 0 end
  local soonest
  for i = 1, #f.queues do
    local q = f.queues[i]
    if q.due.more then return 0 end
    local at
    local room = f.left > 0 and f.room[i] > 0
    for j = 1, room and 2 or call('ZCARD', q.idle) > 0 and 1 or 0 do -- who has no room sees to it that others are woken
      local first = tonumber(call('ZRANGE', j == 1 and q.schedule or q.running, 0, 0, 'WITHSCORES')[2])
      if first and (not at or first < at) then at = first end
    end
    try('ZREM', q.promises, f.member)
    if at and promised(q, at) < PROMISES then
      try('ZADD', q.promises, at, f.member)
      try('PEXPIRE', q.promises, f.mark + KEEP)
      if not soonest or at < soonest then soonest = at end
    end
  end
  return soonest and math.max(soonest - ms, 0) or -1
end

local reply = { ms, table.concat(asked), table.concat(renewed), table.concat(letters), unpack(joined) }
for i = 1, fetches do
  local f = listening[i]
  reply[#reply + 1] = f.leave == '1' and { 0, -1, 0 } or { f.idle and 1 or 0, nextOf(f), f.fence and int(f.fence) or 0, unpack(f.grants) }
end
return reply

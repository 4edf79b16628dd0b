-- What the scripts on tasks share; put in front of them once, when they are loaded.
--
-- KEYS  1 the fence: it only says where in a Cluster the script belongs
-- ARGV  1 the keys of the namespace, each with a NUL behind it: fence, the prefixes of tasks and results, of the lanes of
--       classes 0, 1 and 2, of scheduled, running, dead, listeners, idle, totals, ghosts and promises, then paused, idlers, and the
--       prefixes of listening marks and wake channels; at last "1" if the number of those whom PUBLISH reaches is that of
--       all, which it is not in a Cluster. The script's own from 2 on
--
-- A script first reads whatever it may write to: task(id), and meet(q, ...) for the keys of a queue. A key of the wrong type
-- ends it there, before anything has changed. What stands under a task's id cannot: that task alone is foreign, and dead.
-- Then it goes on step by step: what is about one task is written at once, what is about a queue at settle() or flush().
--
-- A task that has not ended, or is dead, is a hash: q queue, s state (s scheduled, w waiting, r running, d dead), k what does
-- not change, "<submitted> <retention> <graveyard> <most deaths> <class> <digest>", x deadline, p payload, m meta, n attempts,
-- y deaths, a due, u token of the lease ("" after a death; after a report of r, x or b that letter, a blank and the token), z
-- end of the lease, l its listener (as in the set of listeners), w those who watch, each a process with a blank behind, and
-- a + in front if it wants progress, e error (a member of a JSON object), r progress, o timeout (if it is not x less the time
-- of submission), h reason (of a dead one). Times are ms. What is empty, or 0 for n and y, may be missing.
-- Every other final state is a string, a JSON object, under the result key.
-- A listener is "<process> <name>"; with a comma for the blank if it listens to several queues: then the hash of idlers has
-- their names, with NUL behind each, while it is idle.
-- A ghost is an id in a lane whose task does not wait any more. Ghosts are counted by id, all of them under "".
--
-- For the scripts' own use:
--   task(id)        its record r, or false: there is none that has not ended or is dead; r.foreign if it is no task of ours.
--                   r has s q x u z n y w e as above, a, if it is scheduled, and of k: t kept buried most c d. Numbers are
--                   those that change, and c. Once ended: r.final is its JSON text
--   result(id)      the JSON text of its final state; false if there is none, and true if that is foreign
--   current(r)      notices deaths, due times and the end of its time
--   finish(r, state, at, more)   ends it in any state but dead. more: members of the JSON object, "" or with a comma in front
--   bury(r, reason, at)          dead
--   waits(r, front, ...)         waiting, at the front or the end of its class; fields and values that change with it
--   info(r, full), text(r)       as it stands: a list for the reply, with payload and meta if full; and for a message
--   watch(r, process, progress)  notes who watches; a vanished or final one is not for it
--   queue(name), meet(q, ...), meetAll(q), paused(q), listened(q)
--   told(process, ...)           adds words to what the process is told at flush()
--   settle()        what is about queues, but for waking; flush(): everything, at the end of each script

local try = redis.pcall
local fenceKey, taskPrefix, resultPrefix, lane0, lane1, lane2, scheduled, running, dead, listeners, idle, totals, ghosts,
  promises, pausedKey, idlers, listen, wakePrefix, alone = struct.unpack('sssssssssssssssssss', ARGV[1])

-- str writes a whole number; most come up several times in a step, and writing one takes as long as a short command.
local written = {}

local function str(n)
  local s = written[n]
  if not s then
    s = int(n)
    written[n] = s
  end
  return s
end

local now = str(ms)

local SMALL = 16384 -- no longer texts travel in messages
local FOREIGN = 86400000 -- ms for which a foreign task is listed as dead

-- Queues. lanes are the keys by class; for settle: front and back are what lanes get, by class; out what leaves running and
-- schedule, into what comes there {score, id, ...}; counts of final states, by field; made how many it has that wait since
-- this script began.
local queues, order, made = {}, {}, {}

local function queue(name)
  local q = queues[name]
  if q then return q end
  q = {
    name = name, lanes = { [0] = lane0 .. name, lane1 .. name, lane2 .. name },
    schedule = scheduled .. name, running = running .. name, dead = dead .. name, listeners = listeners .. name,
    idle = idle .. name, totals = totals .. name, ghosts = ghosts .. name, promises = promises .. name, listen = listen .. name,
    met = {}, front = {}, back = {}, made = 0, wakes = 0,
  }
  queues[name], order[#order + 1] = q, q
  return q
end

local SIZE = { schedule = 'ZCARD', running = 'ZCARD', dead = 'ZCARD', listeners = 'ZCARD', idle = 'ZCARD', totals = 'HLEN', ghosts = 'HLEN' }

-- meet reads the size of keys of a queue, once: of its lanes by their class, of others by their names above.
local function meet(q, ...)
  local met = q.met
  for i = 1, select('#', ...) do
    local what = select(i, ...)
    if not met[what] then
      local lane = q.lanes[what]
      met[what] = lane and call('LLEN', lane) or not lane and call(SIZE[what], q[what])
    end
  end
end

-- paused is to be asked for the first time before anything is written, too.
local function paused(q)
  if q.paused == nil then q.paused = call('SISMEMBER', pausedKey, q.name) == 1 end
  return q.paused
end

local function meetAll(q)
  meet(q, 0, 1, 2, 'schedule', 'running', 'dead', 'listeners', 'idle', 'totals', 'ghosts')
  paused(q)
end

-- listened tells whether a listener is alive, one of Python's included.
local function listened(q)
  return call('EXISTS', q.listen) == 1 or call('ZCOUNT', q.listeners, ms, '+inf') > 0
end

local function add(list, ...)
  local n = #list
  for i = 1, select('#', ...) do list[n + i] = select(i, ...) end
end

-- Messages, by process: words, and the queues for whose sake listeners are woken there.
local outbox, processes = {}, {}

local function box(process)
  local b = outbox[process]
  if not b then
    b = { words = {}, wakes = {} }
    outbox[process] = b
  end
  return b
end

-- put adds netstrings.
local function put(process, text)
  local words = box(process).words
  if #words == 0 then processes[#processes + 1] = process end
  words[#words + 1] = text
end

local function told(process, ...)
  for i = 1, select('#', ...) do put(process, net((select(i, ...)))) end
end

-- Records.
local FIELDS = { 's', 'q', 'x', 'k', 'u', 'z', 'n', 'y', 'w', 'e', 'r', 'p', 'm' }
local CLASSES = { ['0'] = 0, ['1'] = 1, ['2'] = 2 }
local LIVE = { s = true, w = true, r = true }
local tasks, gone = {}, {}

local BEYOND = 1e15 -- no time or number is that large

-- whole gives a number that can be one of ours, else nil.
local function whole(v)
  local n = tonumber(v or nil)
  return n and n >= 0 and n < BEYOND and n % 1 == 0 and n or nil
end

-- count adds to a number in a hash, and gives what it is then; what is no number there counts as 0.
local function count(key, field, n)
  local sum = try('HINCRBY', key, field, n)
  if type(sum) == 'number' then return sum end
  call('HSET', key, field, n)
  return n
end

-- read gives a record of what HMGET has of the fields, or false if there is none of it all.
local function read(id, key, v)
  if v.err then
    if not string.find(v.err, 'WRONGTYPE', 1, true) then error(v.err) end
    return { id = id, key = key, foreign = true }
  end
  local s, q, k, e, c = v[1], v[2], v[4], v[10], nil
  if not s and not q and call('EXISTS', key) == 0 then return false end
  local r = {
    id = id, key = key, s = s, q = q, x = whole(v[3]), u = v[5], z = whole(v[6] or 0), n = whole(v[7] or 0),
    y = whole(v[8] or 0), w = v[9], e = e, r = v[11], p = v[12], m = v[13], a = 0,
  }
  if k then r.t, r.kept, r.buried, r.most, c, r.d = string.match(k, '^(%d+) (%d+) (%d+) (%d+) ([012]) (.*)$') end
  r.c = c and CLASSES[c]
  if s == 's' then r.a = whole(call('HGET', key, 'a') or 0) end
  if (LIVE[s] or s == 'd') and q and r.x and c and r.z and r.n and r.y and r.a
    and (not e or e == '' or string.find(e, '^"error6?4?":".*"$')) then return r end
  return { id = id, key = key, foreign = true }
end

local function task(id, full)
  local r = tasks[id]
  if r ~= nil then return r end
  local key = taskPrefix .. id
  r = read(id, key, try('HMGET', key, unpack(FIELDS, 1, full and 13 or 10)))
  tasks[id] = r
  return r
end

local function result(id)
  local text = try('GET', resultPrefix .. id)
  if type(text) == 'table' then
    if not string.find(text.err, 'WRONGTYPE', 1, true) then error(text.err) end
    return true
  end
  return text and (string.sub(text, 1, 10) ~= '{"state":"' or text)
end

local function hex(c) return string.format('\\u%04x', string.byte(c)) end

-- quoted gives a string of JSON.
local function quoted(s)
  if string.find(s, '[%c"\\]') then s = string.gsub(s, '[%c"\\]', hex) end
  return '"' .. s .. '"'
end

-- record gives the JSON object of a final state.
local function record(r, q, state, at, reason, more)
  q.quoted = q.quoted or quoted(q.name)
  return '{"state":"' .. state .. (reason and '","reason":"' .. reason or '') .. '","queue":' .. q.quoted .. ',"class":' .. str(r.c)
    .. ',"attempts":' .. str(r.n) .. ',"deaths":' .. str(r.y) .. ',"submitted":' .. r.t .. ',"deadline":' .. str(r.x)
    .. ',"finished":' .. str(at)
    .. (r.d ~= '' and ',"digest":"' .. r.d .. '"' or '') .. (r.e and r.e ~= '' and ',' .. r.e or '') .. more .. '}'
end

-- info gives how a task stands that has not ended, or is dead: state, now, queue, class, attempts, deaths, submitted,
-- deadline, due, error, progress; full: payload and meta, for which the record has to have been read full; and the reason
-- of a dead one.
local function info(r, full)
  if r.r == nil then r.r = call('HGET', r.key, 'r') end
  local list = { r.s, now, r.q, str(r.c), str(r.n), str(r.y), r.t, str(r.x), str(r.a), r.e or '', r.r or '' }
  if full then list[12], list[13] = r.p or '', r.m or '' end
  if r.s == 'd' then
    list[12], list[13], list[14] = list[12] or '', list[13] or '', call('HGET', r.key, 'h') or ''
  end
  return list
end

local function text(r)
  local list = info(r)
  for i = 1, #list do list[i] = net(list[i]) end
  return table.concat(list)
end

-- changes tells those who want progress how a task stands.
local function changes(r)
  if not r.w or not string.find(r.w, '+', 1, true) then return end
  local short = text(r)
  if #short > SMALL then short = '' end
  for process in string.gmatch(r.w, '+(%S+)') do told(process, 'p', r.id, short) end
end

-- ends tells those who watch how a task has ended.
local function ends(r, final)
  if not r.w then return end
  if #final > SMALL then final = '' end
  local front = '1:f' .. net(r.id) .. #final .. ':'
  for process in string.gmatch(r.w, '+?(%S+)') do
    put(process, front)
    put(process, final)
  end
end

local function watch(r, process, progress)
  local name, w = process .. ' ', ' ' .. (r.w or '')
  local plain = string.find(w, ' ' .. name, 1, true)
  local more = string.find(w, ' +' .. name, 1, true)
  if more or plain and not progress then return end
  w = string.sub(w, 2)
  if plain then w = string.sub(w, 1, plain - 1) .. string.sub(w, plain + #name) end
  r.w = w .. (progress and '+' or '') .. name
  call('HSET', r.key, 'w', r.w)
end

-- leaves takes a task out of where it stands.
local function leaves(r, q)
  if made[r.id] then
    made[r.id], q.made = nil, q.made - 1
  end
  if r.s == 'r' then
    local ran = q.ran or {}
    ran[#ran + 1], q.ran = r.id, ran
  elseif r.s == 's' then
    q.came = q.came or {}
    add(q.came, r.id)
  elseif r.s == 'w' and not r.popped then
    count(q.ghosts, '', 1)
    count(q.ghosts, str(r.c) .. r.id, 1)
  end
end

local function finish(r, state, at, more, reason)
  local q = queue(r.q)
  leaves(r, q)
  if state == 'cancelled' and r.s == 'r' then
    local l = call('HGET', r.key, 'l')
    local process, name
    if l then process, name = string.match(l, '^([^ ,]+)[ ,](.*)$') end
    if process then told(process, 'l', name, r.id, r.u) end
  end
  local final = record(r, q, state, at, reason, more)
  local keep = math.min(at + r.kept - ms, BEYOND)
  if keep > 0 then call('SET', resultPrefix .. r.id, final, 'PX', str(keep)) end
  gone[#gone + 1] = r.key
  q.counts = q.counts or {}
  q.counts[state] = (q.counts[state] or 0) + 1
  r.s, r.final = state, final
  ends(r, final)
end

local function bury(r, reason, at, ...)
  local q = queue(r.q)
  leaves(r, q)
  r.s = 'd'
  local over = math.min(at + r.buried, BEYOND)
  call('HSET', r.key, 's', 'd', 'h', reason, 'n', str(r.n), 'y', str(r.y), 'w', '', 'r', '', ...)
  call('PEXPIREAT', r.key, str(over))
  q.died = q.died or {}
  add(q.died, over, r.id)
  ends(r, record(r, q, 'dead', at, reason ~= '' and reason or nil, ''))
  r.w = nil
end

-- foreign lists what is no task of ours as dead.
local function foreign(q, id)
  q.died = q.died or {}
  add(q.died, ms + FOREIGN, id)
end

-- lines puts a task into its lane; its record is the caller's.
local function lines(r, q, front)
  local side = front and q.front or q.back
  local list = side[r.c] or {}
  list[#list + 1], side[r.c] = r.id, list
  made[r.id], q.made = true, q.made + 1
end

local function waits(r, front, ...)
  local q = queue(r.q)
  leaves(r, q)
  call('HSET', r.key, 's', 'w', ...)
  r.s, r.popped = 'w', nil
  lines(r, q, front)
  changes(r)
end

-- current notices what has become of a task with time.
local function current(r)
  if r.foreign or r.final or r.s == 'd' then return end
  local over = r.x <= ms
  if r.s == 'r' and r.z <= ms and r.z < r.x then
    r.y = r.y + 1
    if r.y >= tonumber(r.most) then return bury(r, 'deaths', r.z, 'u', '') end
    if not over then
      r.u = ''
      return waits(r, true, 'y', r.y, 'u', '')
    end
  end
  if over then
    finish(r, 'expired', r.x, '', r.n == 0 and not listened(queue(r.q)) and 'no listener' or nil)
  elseif r.s == 's' and r.a <= ms then
    waits(r, false, 'a', '0')
  end
end

-- pop takes an id that was at the front of the lane of a class, and gives its record if it is to be served.
local function pop(q, class, id)
  if q.met.ghosts and q.met.ghosts > 0 then
    local ghost = str(class) .. id
    local n = tonumber(call('HGET', q.ghosts, ghost) or 0)
    if n and n > 0 then
      if n == 1 then call('HDEL', q.ghosts, ghost) else count(q.ghosts, ghost, -1) end
      if count(q.ghosts, '', -1) <= 0 then call('DEL', q.ghosts) end
      return nil
    end
  end
  local r = task(id, true)
  if r and r.foreign or not r and result(id) == true then
    foreign(q, id)
    return nil
  end
  if not r or r.s ~= 'w' or r.q ~= q.name then return nil end
  r.popped = true
  current(r)
  return r.s == 'w' and r or nil
end

local fence

local function lastFence()
  local n = tonumber(call('GET', fenceKey) or 0) or 0
  return n < 2 ^ 53 and n or 0
end

local function draw()
  if not fence then fence = lastFence() end
  fence = math.max(fence + 1, us)
  return fence
end

-- rouse wakes the listeners of a queue that have been idle longest, so many of them.
local function rouse(q, n)
  while n > 0 do
    local found = call('ZPOPMIN', q.idle, n)
    if #found == 0 then return end
    for i = 1, #found, 2 do
      local process, several, name = string.match(found[i], '^([^ ,]+)([ ,])(.*)$')
      if several == ',' then
        local names = try('HGET', idlers, found[i])
        if type(names) ~= 'string' then names = q.name end
        for other in string.gmatch(names, '[^%z]+') do
          if other ~= q.name then try('ZREM', idle .. other, found[i]) end
        end
      end
      local b = process and outbox[process]
      if process and not (b and b.gone) and (tonumber(call('ZSCORE', q.listeners, found[i]) or 0) >= ms) then
        told(process, 'w', name)
        add(box(process).wakes, q)
        n = n - 1
      end
    end
  end
end

local function settle()
  for i = 1, #order do
    local q = order[i]
    for c = 0, 2 do
      if q.front[c] then
        call('LPUSH', q.lanes[c], unpack(q.front[c]))
        q.front[c] = nil
      end
      if q.back[c] then
        call('RPUSH', q.lanes[c], unpack(q.back[c]))
        q.back[c] = nil
      end
    end
    if q.ran then call('ZREM', q.running, unpack(q.ran)) end
    if q.came then call('ZREM', q.schedule, unpack(q.came)) end
    if q.runs then call('ZADD', q.running, unpack(q.runs)) end
    if q.comes then call('ZADD', q.schedule, unpack(q.comes)) end
    q.ran, q.came, q.runs, q.comes = nil, nil, nil, nil
    if q.died then
      call('ZREMRANGEBYSCORE', q.dead, '-inf', ms)
      call('ZADD', q.dead, unpack(q.died))
      local last = call('ZRANGE', q.dead, -1, -1, 'WITHSCORES')
      if whole(last[2]) then call('PEXPIREAT', q.dead, last[2]) end
      q.died = nil
    end
    if q.counts then
      for state, n in pairs(q.counts) do count(q.totals, state, n) end
      q.counts = nil
    end
  end
  if #gone > 0 then
    call('UNLINK', unpack(gone))
    gone = {}
  end
end

-- publish sends the messages. A process that is gone has not been woken: the next listeners are. A user who may not publish
-- has done everything else by then: those who would have been told find out by themselves.
local function publish()
  local i = 1
  while processes[i] do
    local process = processes[i]
    local b = outbox[process]
    i = i + 1
    if try('PUBLISH', wakePrefix .. process, '1:T' .. table.concat(b.words)) == 0 and alone == '1' then
      b.words, b.gone = {}, true
      local wakes = b.wakes
      b.wakes = {}
      for j = 1, #wakes do rouse(wakes[j], 1) end
    else
      b.words, b.wakes = {}, {}
    end
  end
end

local function flush()
  settle()
  for i = 1, #order do
    local q = order[i]
    local n = q.made + q.wakes
    if n > 0 and not paused(q) then rouse(q, n) end
    q.made, q.wakes = 0, 0
  end
  if fence then call('SET', fenceKey, int(fence)) end
  publish()
end

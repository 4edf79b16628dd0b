-- What the scripts on pools and lines share; put in front of them once, when they are loaded.
--
-- KEYS  1 pool  2 head  3 tail  4 leases  5 fence  6 line  7 requests  8 processes  9 cursor  10 sequence
-- ARGV  1 prefix of lock keys  2 prefix of binding keys  3 prefix of wake channels; the script's own from 4 on
--
-- A script first reads and decides, on tables that stand for the pool, and writes at the end, in flush(): an
-- error on the way (a key of the wrong type, say) leaves everything as it was.

local pool, headKey, tailKey, leases, line, cursorKey = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6], KEYS[9]
fenceKey, requests, processes, sequenceKey = KEYS[5], KEYS[7], KEYS[8], KEYS[10]
local lockPrefix, bindPrefix = ARGV[1], ARGV[2]
wakePrefix = ARGV[3]

local LAPSES = 200 -- leases that are found to have run out in one step
local WALK = 200 -- members in the way that are put right in one step

local sec = tonumber(clock[1])

-- text under a key, '' if there is none; MGET hides keys of another type, GET does not
local ends = call('MGET', headKey, tailKey, fenceKey)
local head = ends[1] or call('GET', headKey) or ''
local tail = ends[2] or call('GET', tailKey) or ''
local head0, tail0 = head, tail
fence = tonumber(ends[3] or call('GET', fenceKey) or 0) or 0
fence0 = fence
local repaired, freed, dropped, marked = 0, 0, 0, 0
local unfinished = false -- there was more to put right than one step may take: who gets nothing should ask again

-- Members: node = {prev, next, expiry}, false when it is not in the pool.
local nodes, dirty, gone = {}, {}, {}
local touched = {} -- the members in dirty, in the order in which they got there: small hashes are walked in this order

local function touch(member, n)
  if not dirty[member] then touched[#touched + 1] = member end
  dirty[member], gone[member] = n, nil
end

local function node(member)
  local n = nodes[member]
  if n == nil then
    local value = call('HGET', pool, member)
    n = value and { parse(value) }
    nodes[member] = n
  end
  return n
end

local function fetch(members)
  if #members == 0 then return end
  local values = call('HMGET', pool, unpack(members))
  for i = 1, #members do
    local member, value = members[i], values[i]
    if nodes[member] == nil then nodes[member] = value and { parse(value) } end
  end
end

-- Locks: text, or false when there is none. What a script decides shows at once to its later steps.
local locks, lockTTL, unlocked = {}, {}, {}

local function locked(member)
  local value = locks[member]
  if value == nil then
    value = call('EXISTS', lockPrefix .. member) == 1
    if not value then locks[member] = false end
  end
  return value
end

local function fetchLocks(members)
  if #members == 0 then return end
  local keys = {}
  for i = 1, #members do keys[i] = lockPrefix .. members[i] end
  local values = call('MGET', unpack(keys))
  for i = 1, #members do
    if locks[members[i]] == nil and values[i] then locks[members[i]] = values[i] end
  end
end

local deadlines, unleased = {}, {} -- changes to the index of leases

local function setLock(member, token, ttl)
  locks[member], lockTTL[member], unlocked[member] = token, ttl, nil
  deadlines[member] = endOf(ttl)
  unleased[member] = nil
end

local function dropLock(member)
  locks[member], lockTTL[member], unlocked[member] = false, nil, true
  deadlines[member], unleased[member] = nil, true
end

-- possible tells whether a name can be that of a member: no link could point to others.
local function possible(name)
  return name ~= '' and name ~= ALLOCATED and string.sub(name, 1, 1) ~= '|' and not string.find(name, '||', 1, true)
end

local function discard(name)
  if nodes[name] == false then return end
  nodes[name], dirty[name], gone[name] = false, nil, true
  dropped = dropped + 1
end

-- mend links the free list anew when it leads nowhere: what can be reached keeps its order, the rest follows.
local function mend()
  local all = call('HGETALL', pool)
  local names, order, seen = {}, {}, {}
  for i = 1, #all, 2 do
    if nodes[all[i]] == nil then nodes[all[i]] = { parse(all[i + 1]) } end
    if possible(all[i]) then names[#names + 1] = all[i] else discard(all[i]) end
  end
  for i = 1, #touched do names[#names + 1] = touched[i] end
  local member = head
  while member ~= '' and not seen[member] do
    local n = nodes[member]
    if not n or n[1] == ALLOCATED or n[2] == ALLOCATED then break end
    seen[member] = true
    order[#order + 1] = member
    member = n[2]
  end
  for i = 1, #names do
    member = names[i]
    local n = nodes[member]
    if n and not seen[member] and (n[1] ~= ALLOCATED or n[2] ~= ALLOCATED) then
      seen[member] = true
      repaired = repaired + 1
      if locked(member) then
        n[1], n[2] = ALLOCATED, ALLOCATED
        touch(member, n)
      else
        order[#order + 1] = member
      end
    end
  end
  for i = 1, #order do
    local n = nodes[order[i]]
    local prev, next = order[i - 1] or '', order[i + 1] or ''
    if n[1] ~= prev or n[2] ~= next then
      n[1], n[2] = prev, next
      touch(order[i], n)
    end
  end
  head, tail = order[1] or '', order[#order] or ''
end

-- linked tells whether the neighbours of a free member know it.
local function linked(member, n)
  local prev, next = n[1], n[2]
  if next == ALLOCATED then return false end
  if prev == '' then
    if head ~= member then return false end
  else
    local p = node(prev)
    if not p or p[2] ~= member then return false end
  end
  if next == '' then return tail == member end
  local x = node(next)
  return x and x[1] == member
end

local function unlink(member, n)
  if not linked(member, n) then
    mend()
    if n[1] == ALLOCATED or not nodes[member] then return end
  end
  local prev, next = n[1], n[2]
  if prev == '' then head = next else
    nodes[prev][2] = next
    touch(prev, nodes[prev])
  end
  if next == '' then tail = prev else
    nodes[next][1] = prev
    touch(next, nodes[next])
  end
end

local function allocate(member, n)
  if n[1] ~= ALLOCATED then unlink(member, n) end
  n[1], n[2] = ALLOCATED, ALLOCATED
  touch(member, n)
end

local function push(member, n)
  if tail == '' and head ~= '' or tail ~= '' and (not node(tail) or node(tail)[2] ~= '') then mend() end
  n[1], n[2] = tail, ''
  if tail == '' then head = member else
    nodes[tail][2] = member
    touch(tail, nodes[tail])
  end
  tail = member
  nodes[member] = n
  touch(member, n)
end

local function expired(n)
  if n[3] == '-1' then return false end
  local expiry = tonumber(n[3])
  return expiry and expiry > 0 and expiry <= sec
end

local function drop(member, n)
  if n[1] ~= ALLOCATED then unlink(member, n) end
  nodes[member], dirty[member], gone[member] = false, nil, true
end

-- free puts an allocated member back, or drops it if its membership is over.
local function free(member, n)
  if n[1] ~= ALLOCATED then return end
  if expired(n) then
    drop(member, n)
    dropped = dropped + 1
  else
    push(member, n)
    freed = freed + 1
  end
end

-- lapse puts back the members whose leases ran out.
local function lapse()
  local due = call('ZRANGEBYSCORE', leases, '-inf', '(' .. int(ms), 'LIMIT', 0, LAPSES)
  unfinished = #due == LAPSES
  fetch(due)
  for i = 1, #due do
    local member = due[i]
    if locked(member) then -- somebody has locked it anew without a word: look again when that ends
      local left = call('PTTL', lockPrefix .. member)
      if left > 1 then deadlines[member] = ms + left elseif left == -1 then deadlines[member] = FOREVER + ms end
    else
      unleased[member] = true
      local n = node(member)
      if n then free(member, n) end
    end
  end
end

-- check looks at one member as the collector does.
local function check(member)
  local n = node(member)
  if not n then return end
  if not possible(member) then return discard(member) end
  if n[1] ~= ALLOCATED and not linked(member, n) or n[1] == ALLOCATED and n[2] ~= ALLOCATED then mend() end
  if expired(n) then
    drop(member, n)
    dropped = dropped + 1
  elseif n[1] == ALLOCATED then
    if not locked(member) then free(member, n) end
  elseif locked(member) then
    allocate(member, n)
    marked = marked + 1
  end
end

local cursor

-- checkEnds looks at both ends of the free list.
local function checkEnds()
  local h, t = node(head), node(tail)
  if head == '' and tail == '' then return end
  if head == '' or tail == '' or not h or h[1] ~= '' or h[2] == ALLOCATED or not t or t[2] ~= '' or t[1] == ALLOCATED then
    mend()
  end
end

-- checkAll looks whether the free members among these, which are all, can be reached.
local function checkAll(pairs)
  local free, reached = 0, 0
  for i = 1, #pairs, 2 do
    local n = nodes[pairs[i]]
    if n and n[1] ~= ALLOCATED then free = free + 1 end
  end
  local member = head
  while member ~= '' and reached <= free do
    local n = node(member)
    reached = reached + 1
    member = n and n[2] or ''
  end
  if reached ~= free then mend() end
end

-- collect walks on from where the last one stopped. With ride it does so less often, for more members at a time; a
-- small hash, which cannot be walked in part, only as often as makes the same work in the long run.
local function collect(count, ride)
  if ride then
    local size = call('HLEN', pool)
    if size > 512 and size > count then
      if us % 4 > 0 then return end
      count = count * 4
    elseif size > count and us % size >= count then return
    end
  end
  local from = call('GET', cursorKey) or '0'
  local page = redis.pcall('HSCAN', pool, from, 'COUNT', count)
  if page.err then page = call('HSCAN', pool, '0', 'COUNT', count) end -- the cursor was garbage
  cursor = page[1]
  checkEnds()
  for i = 1, #page[2], 2 do check(page[2][i]) end
  if from == '0' and cursor == '0' then checkAll(page[2]) end
end

-- Bindings: member, or false when there is none.
local binds, bindTTL = {}, {}

local function bound(name)
  local member = binds[name]
  if member == nil then
    member = call('GET', bindPrefix .. name)
    binds[name] = member
  end
  return member
end

local function setBind(name, member, ttl)
  binds[name], bindTTL[name] = member, ttl
end

-- usable gives the node of a member that can be taken out of turn.
local function usable(member)
  local n = node(member)
  if not n then return false end
  if expired(n) then
    drop(member, n)
    return false
  end
  return not locked(member) and n
end

-- pick chooses members for a request r = {token, ttl, count, shared, only, bind, bindTTL, prefer}, or gives nil.
local function pick(r)
  if r.bind then
    local member = bound(r.bind)
    if member then
      if usable(member) then
        setBind(r.bind, member, r.bindTTL)
        return { member }, true
      end
      setBind(r.bind, false, 0)
    end
  end
  local got, have = {}, {}
  for i = 1, #r.prefer do
    local member = r.prefer[i]
    if #got < r.count and not have[member] and usable(member) then
      got[#got + 1], have[member] = member, true
    end
  end
  local member, prev, mended, walked = head, '', false, 0
  while #got < r.count and not r.only and member ~= '' do
    local n = node(member)
    if not n or n[1] ~= prev or n[2] == ALLOCATED then
      if mended then break end
      mend()
      member, prev, mended = head, '', true
    elseif walked == WALK then
      unfinished = true
      break
    else
      local next = n[2]
      if expired(n) then
        drop(member, n)
        walked = walked + 1
      elseif locked(member) then
        allocate(member, n)
        marked, walked = marked + 1, walked + 1
      else
        if not have[member] then got[#got + 1], have[member] = member, true end
        prev = member
      end
      member = next
    end
  end
  if #got < r.count then return nil end
  return got
end

-- grant takes members for a request under a TTL; gives members and fences, or nil.
local function grant(r, ttl)
  local got, wasBound = pick(r)
  if not got then return nil end
  local fences = {}
  for i = 1, #got do
    local member = got[i]
    local n = node(member)
    if not r.shared then
      allocate(member, n)
      fences[i] = draw()
      setLock(member, r.token, ttl)
    else
      if not wasBound then
        if n[1] ~= ALLOCATED then unlink(member, n) end
        push(member, n)
      end
      fences[i] = 0
    end
  end
  if r.bind and not wasBound then setBind(r.bind, got[1], r.bindTTL) end
  return got, fences
end

-- The line; see lines.lua. A request is {process, claim, count, shared, bind, bindTTL, prefer, since}, and, once it was
-- granted, members, fences and the end of the claim.
GRANTED = 9

wellFormed = function(r)
  return type(r[3]) == 'number' and type(r[5]) == 'string' and type(r[6]) == 'number' and type(r[7]) == 'table'
end

local waiters = open({}, line)

-- first gives the first live waiter, and takes the dead out of the line on the way.
local function first()
  local token = current(waiters)
  while token do
    if not left[token] then
      local r = request(token)
      if r and not r[9] then
        if isAlive(r[1]) then return token, r end
        silent[r[1]] = true
      end
      left[token] = true
    end
    waiters.rank = waiters.rank + 1
    token = current(waiters)
  end
end

-- serve hands free members to those who wait, in their order, and tells whether somebody still waits.
local function serve()
  while true do
    local token, r = first()
    if not token then return false end
    local members, fences = grant({ token = token, count = r[3], shared = r[4] == 1, bind = r[5] ~= '' and r[5],
      bindTTL = r[6], prefer = r[7] }, r[2])
    if not members then return true end
    local text = { net('G'), net(token) }
    for i = 1, #members do
      text[#text + 1] = net(members[i])
      text[#text + 1] = net(int(fences[i]))
    end
    messages[#messages + 1] = { r[1], table.concat(text) }
    left[token] = true
    r[9], r[10], r[11] = members, fences, ms + r[2]
    if not r[4] or r[4] == 0 then records[token] = r end -- so that leaving gives it back, until it is renewed
  end
end

-- leave takes a request out of the line; gives whether it waited, and how many members it had been granted and
-- gives back.
local function leave(token)
  local r = request(token)
  if not r then return false, 0 end
  forgotten[token] = true
  if not r[9] then
    left[token] = true
    return true, 0
  end
  local n = 0
  fetchLocks(r[9])
  for i = 1, #r[9] do
    local member = r[9][i]
    if locks[member] == token then
      n = n + 1
      dropLock(member)
      if node(member) then free(member, node(member)) end
    end
  end
  return false, n
end

-- stay notes that a process is alive, and keeps the line; see live in lines.lua.
local function stay(process)
  call('PEXPIRE', line, KEEP)
  return live(process)
end

-- nextDeadline gives the milliseconds until the next lease ends, -1 if none does. It sees what was flushed.
local function nextDeadline()
  local score = tonumber(call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2])
  if not score or score >= FOREVER then return -1 end
  return math.max(score - ms, 0)
end

-- batch calls a command with what add gives for each entry of a table, not too much at once.
local function batch(command, key, list, add)
  local args = { key }
  local empty = #args
  for k, v in pairs(list) do
    add(args, k, v)
    if #args > 2000 then
      call(command, unpack(args))
      args = { key }
    end
  end
  if #args > empty then call(command, unpack(args)) end
end

local function plain(args, k) args[#args + 1] = k end
local function lockName(args, k) args[#args + 1] = lockPrefix .. k end
local function scored(args, member, score)
  args[#args + 1] = int(score)
  args[#args + 1] = member
end

-- flush writes. A server that is short of memory refuses a script at its first write or not at all: scripts that give
-- back begin with what frees memory, those that add begin with what takes some.
local adds = false

local function flush()
  if not adds then
    if next(unlocked) then batch('DEL', nil, unlocked, lockName) end
    if next(gone) then batch('HDEL', pool, gone, plain) end
  end
  if next(dirty) then
    batch('HSET', pool, touched, function(args, _, member)
      local n = dirty[member]
      if not n then return end
      args[#args + 1] = member
      args[#args + 1] = n[1] .. '||' .. n[2] .. '||' .. n[3]
    end)
  end
  if head ~= head0 or tail ~= tail0 then call('MSET', headKey, head, tailKey, tail) end
  if fence ~= fence0 then call('SET', fenceKey, int(fence)) end
  for member, ttl in pairs(lockTTL) do
    if ttl < 0 then call('SET', lockPrefix .. member, locks[member])
    else call('SET', lockPrefix .. member, locks[member], 'PXAT', int(ms + ttl)) end
  end
  for name, ttl in pairs(bindTTL) do
    if not binds[name] then call('DEL', bindPrefix .. name)
    elseif ttl < 0 then call('SET', bindPrefix .. name, binds[name])
    else call('SET', bindPrefix .. name, binds[name], 'PX', int(ttl)) end
  end
  if cursor then call('SET', cursorKey, cursor) end
  if sequence then call('SET', sequenceKey, int(sequence)) end
  if next(deadlines) then batch('ZADD', leases, deadlines, scored) end
  if adds then
    if next(unlocked) then batch('DEL', nil, unlocked, lockName) end
    if next(gone) then batch('HDEL', pool, gone, plain) end
  end
  if next(unleased) then batch('ZREM', leases, unleased, plain) end
  if next(arrivals) or next(left) or next(records) or next(forgotten) then
    for token, r in pairs(records) do call('HSET', requests, token, cmsgpack.pack(r)) end
    if next(arrivals) then batch('ZADD', line, arrivals, scored) end
    for token in pairs(left) do
      call('ZREM', line, token)
      if not records[token] then call('HDEL', requests, token) end
    end
    for token in pairs(forgotten) do call('HDEL', requests, token) end
    for process in pairs(silent) do call('ZREM', processes, process) end
    for i = 1, #messages do publish(messages[i][1], messages[i][2]) end
    local front = call('ZRANGE', line, 0, 0)[1]
    if front and front ~= waiters.front0 and not arrivals[front] and request(front) then -- the new first in line has to watch the deadlines
      publish(request(front)[1], net('F') .. net(front) .. net(int(nextDeadline())))
    end
  end
end

-- What the scripts on locks and their lines share; put in front of them once, when they are loaded.
--
-- KEYS  one key of the namespace, or some: they only say where in a Cluster the script belongs
-- ARGV  1 the keys of the namespace, each with a NUL behind it: fence requests processes sequence limits, then the prefixes
--       of locks, lines, holders, units, entries and wake channels; the script's own from 2 on
--
-- A script first reads and decides, on tables that stand for the names, and writes at the end, in flush(): an error on
-- the way (a key of the wrong type, say) leaves everything as it was.
--
-- For the scripts' own use:
--   look(name)         the name as it stands: n.owner, n.shared, n.units, holder(n, token), limitOf(n)
--   unlock, renew, have   what can happen to a name
--   inLine(token, r), join, leave(token, names)   what can happen to a request; more in lines.lua
--   attend(n), serve() hand over what can be had in the lines of the names that were attended to, and in all that follow
--   flush()            writes, and tells the processes; behind it stay(process, tokens) and nextEnd(items)

local limits, lockPrefix, linePrefix, holdersPrefix, unitsPrefix, entriesPrefix
fenceKey, requests, processes, sequenceKey, limits, lockPrefix, linePrefix, holdersPrefix, unitsPrefix, entriesPrefix, wakePrefix
  = struct.unpack('sssssssssss', ARGV[1])

local HANDOVERS = 500 -- in one step; the next in line is told to ask for more

fence0 = tonumber(call('GET', fenceKey) or 0) or 0
fence = fence0

-- Names. What a script decides shows at once to its later steps. Of a name n: owner has it alone, false if nobody has;
-- shared says that some have units of it, units how many together; holders, by token, {units, entries, marks, end of the
-- lease}, false if it holds nothing; entries and marks, see entriesOf. For flush: wasOwner, wasShared and hadEntries are what
-- there was, ends the new end of the owner's lease, moved and gone the holders that changed.
local names, values, changed = {}, {}, {}

local function change(n)
  if n.changed then return end
  n.changed = true
  changed[#changed + 1] = n
end

-- fetch reads the values of many names in one call; MGET hides keys of another type, look does not.
local function fetch(list)
  if #list < 2 then return end
  local keys = {}
  for i = 1, #list do keys[i] = lockPrefix .. list[i] end
  local found = call('MGET', unpack(keys))
  for i = 1, #list do values[list[i]] = found[i] end
end

-- wanted reads requests from an index of ARGV on, each a token, the number of its names, and these, and fetches the names;
-- gives the tokens, and for each a list of names.
local function wanted(at)
  local tokens, lists, all = {}, {}, {}
  while ARGV[at] do
    local last = at + 1 + tonumber(ARGV[at + 1])
    tokens[#tokens + 1], lists[#lists + 1] = ARGV[at], { unpack(ARGV, at + 2, last) }
    for i = at + 2, last do all[#all + 1] = ARGV[i] end
    at = last + 1
  end
  fetch(all)
  return tokens, lists
end

-- lapse leaves out those of a shared name whose leases ran out.
local function lapse(n)
  local over = call('ZRANGEBYSCORE', holdersPrefix .. n.name, '-inf', '(' .. int(ms))
  for from = 1, #over, 1000 do
    local some = { unpack(over, from, math.min(from + 999, #over)) }
    local texts = call('HMGET', unitsPrefix .. n.name, unpack(some))
    for i = 1, #some do
      local units = texts[i] and string.match(texts[i], '^%d+')
      n.units = n.units - (tonumber(units) or 0)
      n.holders[some[i]], n.gone[#n.gone + 1] = false, some[i]
    end
  end
  if #over > 0 then change(n) end
  return #over
end

local function look(name)
  local n = names[name]
  if n then return n end
  local value = values[name] or call('GET', lockPrefix .. name)
  n = { name = name, owner = value, wasOwner = value, units = 0, holders = {}, moved = {}, gone = {} }
  names[name] = n
  if value == SHARED then
    n.owner, n.wasShared = false, true
    n.units = tonumber(call('HGET', unitsPrefix .. name, '')) or 0
    n.count = call('ZCARD', holdersPrefix .. name) - lapse(n)
    n.shared = n.count > 0
  end
  return n
end

-- holder gives what a token has of a shared name.
local function holder(n, token)
  local h = n.holders[token]
  if h == nil then
    h = false
    local text = n.wasShared and not n.fresh and call('HGET', unitsPrefix .. n.name, token)
    local score = text and tonumber(call('ZSCORE', holdersPrefix .. n.name, token))
    if score and score >= ms then
      local units, entries, marks = string.match(text, '^(%d+) (%d+) (.*)$')
      h = { tonumber(units or text) or 0, tonumber(entries) or 1, marks or '', score }
    end
    n.holders[token] = h
  end
  return h
end

-- entriesOf gives how often the owner has to give the name back. It is known only if he came with Again; then the marks,
-- those of the requests that were counted last, tell whether a lost one was. It is kept as "<entries> <marks> <token>".
local function entriesOf(n)
  if not n.entries then
    local text, count, marks, token = call('GET', entriesPrefix .. n.name), nil, nil, nil
    n.hadEntries = text ~= false
    if text then count, marks, token = string.match(text, '^(%d+) (%S*) (.*)$') end
    if count and token == n.owner then n.entries, n.marks = tonumber(count), marks
    else n.entries, n.marks = 1, '' end
  end
  return n.entries
end

-- Marks are kept with a comma behind each, as many as fit into MARKS bytes: who comes again while his last request is
-- still being taken back must not be in the way of that.
local MARKS = 512

local function withMark(marks, mark)
  marks = marks .. mark .. ','
  while #marks > MARKS and #marks > #mark + 1 do marks = string.sub(marks, string.find(marks, ',', 1, true) + 1) end
  return marks
end

-- withoutMark gives nil if the mark is not there.
local function withoutMark(marks, mark)
  local from, to = string.find(',' .. marks, ',' .. mark .. ',', 1, true)
  return from and string.sub(marks, 1, from - 1) .. string.sub(marks, to)
end

local newLimits = {} -- by name; 0 forgets it

local function limitOf(n)
  if not n.limit then n.limit = tonumber(call('HGET', limits, n.name)) or 0 end
  return n.limit
end

-- able tells whether a token can have a name, or units of it, the line aside.
local function able(n, token, units, limit)
  if n.owner or units == 0 and n.shared then return false end
  if n.shared and holder(n, token) then return false end
  return limit == 0 or units == 0 or n.units + units <= limit
end

-- have gives a name to a token, under a lease and with a new fence.
local function have(n, token, units, limit, ttl, marks)
  if units == 0 then
    entriesOf(n)
    n.owner, n.ends, n.entries, n.marks = token, endOf(ttl), 1, marks
  else
    if not n.shared then
      if not n.wasShared then -- what stands there counts for nothing; it reads, so that a key of another type is met
        n.stale = call('ZCARD', holdersPrefix .. n.name) + call('HLEN', unitsPrefix .. n.name) > 0
      end
      n.shared, n.fresh, n.units, n.count, n.holders, n.moved = true, true, 0, 0, {}, {}
    end
    n.holders[token] = { units, 1, marks, endOf(ttl) }
    n.moved[token] = true
    n.units, n.count = n.units + units, n.count + 1
    if limit > 0 and limitOf(n) == 0 then newLimits[n.name], n.limit = limit, limit end
  end
  change(n)
  return draw()
end

-- drop takes a name, or units of it, from who has it.
local function drop(n, token)
  if n.owner then
    entriesOf(n)
    n.owner = false
  else
    local h = holder(n, token)
    n.units, n.count = n.units - h[1], n.count - 1
    n.holders[token], n.moved[token], n.gone[#n.gone + 1] = false, nil, token
    n.shared = n.count > 0
  end
  change(n)
end

-- Requests; see lines.lua. One is {process, claim, since in µs, {name, units, limit, ...}}, and, once it was granted, names,
-- fences and the end of the claim.
GRANTED = 5
local strays = {} -- who stands in a line without a request for it: {name, token}

wellFormed = function(r)
  local items = r[4]
  if type(r[3]) ~= 'number' or type(items) ~= 'table' or #items == 0 or #items % 3 ~= 0 then return false end
  for i = 1, #items, 3 do
    if type(items[i]) ~= 'string' or type(items[i + 1]) ~= 'number' or type(items[i + 2]) ~= 'number' then return false end
  end
  return true
end

-- ownEnd gives the end of the owner's lease.
local function ownEnd(n)
  if n.ends then return n.ends end
  local left = call('PTTL', lockPrefix .. n.name)
  return left < 0 and FOREVER + ms or ms + left
end

-- again counts a token once more that has the name, or so many units, already. No handle is given an earlier end than it
-- knows of.
local function again(n, token, units, ttl, mark)
  confirm(n.name, token)
  if units == 0 then
    n.entries, n.ends = entriesOf(n) + 1, math.max(ownEnd(n), endOf(ttl))
    n.marks = withMark(n.marks, mark)
  else
    local h = holder(n, token)
    n.holders[token] = { units, h[2] + 1, withMark(h[3], mark), math.max(h[4], endOf(ttl)) }
    n.moved[token] = true
  end
  change(n)
  return draw()
end

-- inLine tells whether a request stands in all its lines.
local function inLine(token, r)
  if not r or r[5] or left[token] then return false end
  for i = 1, #r[4], 3 do
    if not call('ZSCORE', linePrefix .. r[4][i], token) then return false end
  end
  return true
end

-- The names whose lines have to be looked at.
local work, served = {}, {}

local function attend(n)
  if n.due then return end
  n.due = true
  work[#work + 1] = n
end

local function attendAll(r, but)
  for i = 1, #r[4], 3 do
    if r[4][i] ~= but then attend(look(r[4][i])) end
  end
end

-- waiters tells whether a name has a line, and reads its beginning.
local function waiters(n)
  if not n.page then open(n, linePrefix .. n.name) end
  return #n.page > 0
end

local function asksFor(r, name)
  for i = 1, #r[4], 3 do
    if r[4][i] == name then return true end
  end
  return false
end

-- first gives the first live waiter for a name, and takes the dead out of all their lines on the way. Whose line is looked
-- at for the sake of another name's is attended to if it turns out to begin with somebody else.
local function first(n, other)
  waiters(n)
  local token = current(n)
  while token do
    if not left[token] then
      local r = request(token)
      local waits = r and not r[5] and asksFor(r, n.name)
      if waits and isAlive(r[1]) then return token, r end
      if waits then
        silent[r[1]], left[token], forgotten[token] = true, r, true
        attendAll(r, n.name)
      else
        strays[#strays + 1] = { n.name, token }
      end
      if other then attend(n) end
    end
    n.rank = n.rank + 1
    token = current(n)
  end
end

-- ready tells whether the first in the line of n is first in all its lines, and all it wants can be had; or which item
-- never can, because the limit is lower by now.
local function ready(n, token, r)
  local items = r[4]
  for i = 1, #items, 3 do
    local m = look(items[i])
    if m ~= n and first(m, true) ~= token then return false end
  end
  for i = 1, #items, 3 do
    local limit = items[i + 1] > 0 and limitOf(look(items[i])) or 0
    if limit > 0 and items[i + 1] > limit then return false, i end
  end
  for i = 1, #items, 3 do
    local m = look(items[i])
    local limit = limitOf(m)
    if not able(m, token, items[i + 1], limit > 0 and limit or items[i + 2]) then return false end
  end
  return true
end

local handed = 0

-- hand gives a request what it waits for.
local function hand(token, r)
  local items, got, fences, text = r[4], {}, {}, { net('L'), net(token) }
  for i = 1, #items, 3 do
    local f = have(look(items[i]), token, items[i + 1], items[i + 2], r[2], '')
    got[#got + 1], fences[#fences + 1] = items[i], f
    text[#text + 1] = net(items[i]) .. net(int(f))
  end
  messages[#messages + 1] = { r[1], table.concat(text) }
  r[5], r[6], r[7] = got, fences, ms + r[2]
  left[token], records[token] = r, r -- kept so that leaving gives it back, until it is renewed
  handed = handed + 1
end

-- refuse ends the wait of a request for more units than there may be.
local function refuse(token, r, item)
  local name = r[4][item]
  messages[#messages + 1] =
    { r[1], net('E') .. net(token) .. net(name) .. net(int(r[4][item + 2])) .. net(int(limitOf(look(name)))) }
  left[token], forgotten[token] = r, true
end

-- serve goes through the lines of the names that were attended to, and of all others that it has to look at for that.
-- Afterwards, n.front is the first live waiter for each, nil if nobody waits.
local function serve()
  while #work > 0 do
    local n = table.remove(work)
    n.due = nil
    if not n.served then
      n.served = true
      served[#served + 1] = n
    end
    while true do
      local token, r = first(n)
      n.front = token
      if not token then break end
      local fine, never = ready(n, token, r)
      if not fine and not never then break end
      if handed == HANDOVERS then
        n.cut = true
        break
      end
      if fine then hand(token, r) else refuse(token, r, never) end
      attendAll(r, n.name)
    end
  end
end

-- unlock gives a name back, once, and tells whether the token had it. With a mark only what that request has counted.
local function unlock(name, token, mark)
  local n = look(name)
  if n.owner == token then
    confirm(name, token)
    if entriesOf(n) > 1 or mark then
      local marks = mark and withoutMark(n.marks, mark)
      if mark and not marks then return false end
      n.entries, n.marks = n.entries - 1, marks or n.marks
      change(n)
      if n.entries > 0 then return true end
    end
  else
    local h = n.shared and holder(n, token)
    local marks = h and mark and withoutMark(h[3], mark)
    if not h or mark and not marks then return false end
    confirm(name, token)
    if h[2] > 1 then
      n.holders[token], n.moved[token] = { h[1], h[2] - 1, marks or h[3], h[4] }, true
      change(n)
      return true
    end
  end
  drop(n, token)
  attend(n)
  return true
end

-- renew sets the TTL of a lease, and tells whether the token had it. One that was granted several times is not shortened.
local function renew(name, token, ttl)
  local n = look(name)
  if n.owner == token then
    n.ends = entriesOf(n) > 1 and math.max(ownEnd(n), endOf(ttl)) or endOf(ttl)
  else
    local h = n.shared and holder(n, token)
    if not h then return false end
    local ends = h[2] > 1 and math.max(h[4], endOf(ttl)) or endOf(ttl)
    n.holders[token], n.moved[token] = { h[1], h[2], h[3], ends }, true
  end
  confirm(name, token)
  change(n)
  return true
end

-- join puts a request into the lines of all names that it is for, unless it stands there already; one for other names,
-- under the same token, is another request. Who calls it has attended to those names and served.
local function join(token, process, claim, priority, items)
  local old = request(token)
  local same = old and #old[4] == #items
  for i = 1, same and #items or 0, 3 do same = same and old[4][i] == items[i] end
  if not same or not inLine(token, old) then
    isAlive(process) -- reads, so that a key of another type is met before anything is written
    local r = { process, claim, us, items }
    arrivals[token], left[token], forgotten[token] = place(priority), nil, nil
    requestsOf[token], records[token] = r, r
  end
  for i = 1, #items, 3 do
    local n = look(items[i])
    n.arrived = math.max(n.arrived or priority, priority)
  end
end

-- overtakes tells whether a request that is ready to wait, with a priority, comes first in the line of n. One without
-- does only where nobody waits. Who calls it has attended to n and served.
local function overtakes(n, priority)
  if not n.front and not n.arrived then return true end
  if not priority or n.arrived and priority <= n.arrived then return false end
  return not n.front or priority > priorityOf(tonumber(call('ZSCORE', linePrefix .. n.name, n.front)))
end

-- leave takes a request out of its lines, or of those of the names given if it is not known; gives whether it waited,
-- and how many names it had been granted, had not renewed and gives back.
local function leave(token, list)
  local r, waited, n = request(token), false, 0
  if r and r[5] then
    for i = 1, #r[5] do
      local m = look(r[5][i])
      if m.owner == token or m.shared and holder(m, token) then
        drop(m, token)
        attend(m)
        n = n + 1
      end
    end
    records[token] = nil
  elseif r then
    waited, left[token] = not left[token], r
    attendAll(r)
  end
  if r then forgotten[token], requestsOf[token] = true, false end
  for i = 1, #list do
    if (not r or not asksFor(r, list[i])) and call('ZSCORE', linePrefix .. list[i], token) then
      strays[#strays + 1] = { list[i], token }
      attend(look(list[i]))
    end
  end
  return waited, n
end

-- nextEnd gives the milliseconds until the first end of a lease on any of these names, {name, units, limit, ...}; -1 if
-- none ends. It sees what was flushed.
local function nextEnd(items)
  local soonest = -1
  for i = 1, #items, 3 do
    local n, left = look(items[i]), -1
    if n.shared then
      local score = tonumber(call('ZRANGE', holdersPrefix .. n.name, 0, 0, 'WITHSCORES')[2])
      if score and score < FOREVER then left = math.max(score - ms, 0) end
    elseif n.owner then
      left = call('PTTL', lockPrefix .. n.name)
    end
    if left >= 0 and (soonest < 0 or left < soonest) then soonest = left end
  end
  return soonest
end

-- stay notes that a process is alive, and keeps the lines in which these tokens wait; see live in lines.lua.
local function stay(process, tokens)
  local known, kept = live(process), {}
  for i = 1, #tokens do
    local r = request(tokens[i])
    for j = 1, r and not r[5] and #r[4] or 0, 3 do
      local name = r[4][j]
      if not kept[name] then call('PEXPIRE', linePrefix .. name, KEEP) end
      kept[name] = true
    end
  end
  return known
end

-- lasts gives a key the end of a lease.
local function lasts(key, ends)
  if ends < FOREVER then call('PEXPIREAT', key, int(ends)) else call('PERSIST', key) end
end

-- each calls a command with what add gives for each entry of a list, not too much at once.
local function each(command, key, list)
  for from = 1, #list, 1000 do call(command, key, unpack(list, from, math.min(from + 999, #list))) end
end

-- What a name loses is written before what it gets: a server that is short of memory refuses a script at its first write
-- or not at all, and then lets through what gives back.
local function writeLosses(n)
  local keys = {}
  if n.wasOwner and not n.owner and not n.shared then keys[1] = lockPrefix .. n.name end
  if n.stale or n.wasShared and (n.fresh or not n.shared) then
    keys[#keys + 1] = holdersPrefix .. n.name
    keys[#keys + 1] = unitsPrefix .. n.name
  elseif n.shared and #n.gone > 0 then
    each('ZREM', holdersPrefix .. n.name, n.gone)
    each('HDEL', unitsPrefix .. n.name, n.gone)
  end
  if n.hadEntries and (not n.owner or n.entries == 1 and n.marks == '') then keys[#keys + 1] = entriesPrefix .. n.name end
  if #keys > 0 then call('DEL', unpack(keys)) end
end

local function writeOwner(n)
  local key = lockPrefix .. n.name
  if n.owner ~= n.wasOwner then
    if n.ends < FOREVER then call('SET', key, n.owner, 'PXAT', int(n.ends)) else call('SET', key, n.owner) end
  elseif n.ends then
    lasts(key, n.ends)
  end
  if n.entries and (n.entries > 1 or n.marks ~= '') then
    key = entriesPrefix .. n.name
    local text = int(n.entries) .. ' ' .. n.marks .. ' ' .. n.owner
    if not n.ends then call('SET', key, text, 'KEEPTTL') else
      call('SET', key, text)
      lasts(key, n.ends)
    end
  end
end

local function writeShared(n)
  local holders, units, lock = holdersPrefix .. n.name, unitsPrefix .. n.name, lockPrefix .. n.name
  if n.fresh then call('SET', lock, SHARED) else call('PERSIST', lock) end
  for token in pairs(n.moved) do
    local h = n.holders[token]
    local text = int(h[1]) -- and, as for an owner, how often he has to give them back
    if h[2] > 1 or h[3] ~= '' then text = text .. ' ' .. int(h[2]) .. ' ' .. h[3] end
    call('ZADD', holders, int(h[4]), token)
    call('HSET', units, token, text)
  end
  call('HSET', units, '', int(n.units))
  local ends = tonumber(call('ZRANGE', holders, -1, -1, 'WITHSCORES')[2])
  lasts(lock, ends)
  lasts(holders, ends)
  lasts(units, ends)
end

-- tell tells the processes what was handed to them, and who is now the first in line: his process has to watch the ends
-- of the leases in front.
local function tell()
  for i = 1, #messages do publish(messages[i][1], messages[i][2]) end
  local told = {}
  for i = 1, #served do
    local n = served[i]
    local front = n.front
    if front and (front ~= n.front0 or n.cut or n.overtaken) and not left[front] and not told[front] then
      local r = request(front)
      told[front] = true
      publish(r[1], net('H') .. net(front) .. net(int(n.cut and 0 or nextEnd(r[4]))))
    end
  end
end

local function flush()
  for token, r in pairs(left) do
    for i = 1, #r[4], 3 do call('ZREM', linePrefix .. r[4][i], token) end
  end
  for i = 1, #strays do call('ZREM', linePrefix .. strays[i][1], strays[i][2]) end
  for token in pairs(forgotten) do call('HDEL', requests, token) end
  for process in pairs(silent) do call('ZREM', processes, process) end
  for i = 1, #changed do writeLosses(changed[i]) end
  if fence ~= fence0 then call('SET', fenceKey, int(fence)) end
  for i = 1, #changed do
    if changed[i].owner then writeOwner(changed[i]) elseif changed[i].shared then writeShared(changed[i]) end
  end
  for name, limit in pairs(newLimits) do
    if limit > 0 then call('HSET', limits, name, int(limit)) else call('HDEL', limits, name) end
  end
  if sequence then call('SET', sequenceKey, int(sequence)) end
  for token, r in pairs(records) do
    if not forgotten[token] then call('HSET', requests, token, cmsgpack.pack(r)) end
  end
  for token, score in pairs(arrivals) do
    local items = requestsOf[token][4]
    for i = 1, #items, 3 do call('ZADD', linePrefix .. items[i], int(score), token) end
  end
  tell()
end

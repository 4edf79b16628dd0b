-- What the lines of pools and those of names share; put in front of prelude and of locks, once, when they are loaded.
--
-- Whoever it is put in front of assigns what is declared here and not defined: the names of the keys, the last fence, and
-- what its requests look like. Behind constants and step.
local fenceKey, requests, processes, sequenceKey, wakePrefix

-- endOf gives the end of a lease that begins now.
local function endOf(ttl) return ttl < 0 and FOREVER + ms or ms + ttl end

local fence, fence0 -- the last one, and what it was

local function draw()
  fence = math.max(fence + 1, us)
  return fence
end

-- Requests, by token. One is packed as {process, claim in ms, ...}; from GRANTED on it has, once it was granted, what that
-- was and has not been confirmed yet, the fences, and the end of the claim. wellFormed looks at the rest of it. For flush:
-- records are written, arrivals get their places, those in left leave their lines, forgotten ones have no record any
-- more, silent are the processes that died, and messages {process, text} are published.
local GRANTED, wellFormed
local requestsOf, records, arrivals, left, forgotten, silent, alive, messages = {}, {}, {}, {}, {}, {}, {}, {}

-- unpackRequest gives false for what is no request.
local function unpackRequest(text)
  if not text then return false end
  local ok, r = pcall(cmsgpack.unpack, text)
  if not ok or type(r) ~= 'table' or type(r[1]) ~= 'string' or type(r[2]) ~= 'number'
    or r[GRANTED] and (type(r[GRANTED]) ~= 'table' or type(r[GRANTED + 1]) ~= 'table' or type(r[GRANTED + 2]) ~= 'number') then
    return false
  end
  return wellFormed(r) and r
end

local function request(token)
  local r = requestsOf[token]
  if r == nil then
    r = unpackRequest(call('HGET', requests, token))
    requestsOf[token] = r
  end
  return r
end

-- fetchRequests reads those of many tokens in one call.
local function fetchRequests(tokens)
  if #tokens < 2 then return end
  local texts = call('HMGET', requests, unpack(tokens))
  for i = 1, #tokens do
    if requestsOf[tokens[i]] == nil then requestsOf[tokens[i]] = unpackRequest(texts[i]) end
  end
end

-- confirm notes that a member or a name that was handed over was taken up, or comes too late to be: leaving no longer gives
-- it back.
local function confirm(what, token)
  local r = request(token)
  local things = r and r[GRANTED]
  if not things then return end
  for i = #things, 1, -1 do
    if things[i] == what then
      table.remove(things, i)
      table.remove(r[GRANTED + 1], i)
      records[token], forgotten[token] = r, #things == 0 or nil
    end
  end
end

local sequence -- of the last arrival, once it was read

-- place gives the next place in line. There is one sequence for all lines, so that a request has the same in each of its own.
local function place(priority)
  sequence = (sequence or tonumber(call('GET', sequenceKey) or 0) or 0) + 1
  return sequence - priority * CLASS
end

local function priorityOf(score) return -math.floor(score / CLASS) end

-- A line l is read page by page, as far as it is needed. l.rank counts those that are served or passed over.
local PAGE = 16

local function open(l, key)
  l.key, l.page, l.from, l.rank = key, call('ZRANGE', key, 0, PAGE - 1), 0, 0
  l.front0 = l.page[1]
  return l
end

-- current gives the token at l.rank, nil behind the end.
local function current(l)
  local page = l.page
  if l.rank >= l.from + #page then
    if #page < PAGE then return nil end
    page = call('ZRANGE', l.key, int(l.rank), int(l.rank + PAGE - 1))
    l.page, l.from = page, l.rank
  end
  return page[l.rank - l.from + 1]
end

-- publish tells a process something. By then all is written: a message that this user may not send counts as lost.
local function publish(process, text) redis.pcall('PUBLISH', wakePrefix .. process, text) end

local function isAlive(process)
  if alive[process] == nil then
    alive[process] = tonumber(call('ZSCORE', processes, process) or 0) >= ms
  end
  return alive[process]
end

-- live notes that a process is alive; the lines themselves are for the caller to keep. It writes: call it after flush. It
-- gives 0 if the process was not known: then requests of its that were in line may have been taken out.
local function live(process)
  local known = call('ZSCORE', processes, process) and 1 or 0
  call('ZADD', processes, int(ms + LIFE), process)
  call('PEXPIRE', processes, KEEP)
  call('PEXPIRE', requests, KEEP)
  call('PEXPIRE', sequenceKey, KEEP)
  return known
end

-- Says that a process still waits for names, and serves their lines with what nobody told them: leases that ran out, names
-- that others freed, waiters whose process fell silent.
--
-- ARGV  2 process  3 "1" for a glance: only requests one of whose names has no lock are looked at, and nothing is
--       said of the process  4... requests of the process to look for: token, number of names, name...
-- Reply {known, fence, state...}: known is 0 if the process had been given up (then some of its requests may have to be
--       entered again); fence is the last one given out; and for each request: 1 if it waits, {deadline} if it does so
--       and nobody is in front of it in one of its lines, deadline being the milliseconds until the first lease that it
--       waits for ends, -1 if none does; {name, fence, ...} if that was granted and not yet renewed; 2 if nothing can be
--       said: it was not looked at, or its process knows better; 0 if it is in none of these states
-- Cost  one round trip; one command a name, or at a glance one for all, and some more for a request that is looked at
local process, glance = ARGV[2], ARGV[3] == '1'
local tokens, lists = wanted(4)

alive[process] = true

-- A request that stands in all its lines waits. Lines are served in front of which others stand, or whose name may be
-- had; not those of a name that somebody else has alone, which are the most.
local texts = not glance and #tokens > 0 and call('HMGET', requests, unpack(tokens)) or {}
for i = 1, #tokens do
  local token, w = tokens[i], lists[i]
  local free = not glance
  for j = 1, #w do free = free or not values[w[j]] end
  w.looked, w.waits = free, texts[i]
  for j = 1, free and #w or 0 do
    local name = w[j]
    local rank = w.waits and call('ZRANK', linePrefix .. name, token)
    w.waits, w.first = rank and w.waits, w.first or rank == 0
    if rank ~= 0 or not values[name] or values[name] == SHARED then attend(look(name)) end
  end
  if not w.waits and texts[i] then requestsOf[token] = unpackRequest(texts[i]) end
end
serve()

-- has tells whether a token has everything that was handed to it, and gives it with the fences.
local function has(token, r)
  local got = {}
  for i = 1, #r[5] do
    local n = look(r[5][i])
    if n.owner ~= token and not (n.shared and holder(n, token)) then return nil end
    got[2 * i - 1], got[2 * i] = r[5][i], int(r[6][i])
  end
  return got
end

local states = {}
for i = 1, #tokens do
  local token, w = tokens[i], lists[i]
  local waits = w.waits and not left[token]
  local r = w.looked and not waits and request(token)
  if not w.looked or r and r[5] and 3 * #r[5] < #r[4] then states[i] = 2 -- some has been renewed
  elseif r and r[5] then
    states[i] = has(token, r) or 0
    forgotten[token] = forgotten[token] or states[i] == 0 or nil
  else
    states[i] = (waits or inLine(token, r)) and 1 or 0
  end
end

if not glance then forgetStale(inLine) end
flush()
local known, kept = 1, {}
if not glance then
  known = stay(process, {})
  call('ZREMRANGEBYSCORE', processes, '-inf', int(ms - KEEP))
end
for i = 1, #tokens do
  local items, w = {}, lists[i]
  for j = 1, states[i] == 1 and #w or 0 do
    local name = w[j]
    items[3 * j - 2], items[3 * j - 1], items[3 * j] = name, 0, 0
    w.first = w.first or look(name).front == tokens[i]
    if not kept[name] then call('PEXPIRE', linePrefix .. name, KEEP) end
    kept[name] = true
  end
  if states[i] == 1 and w.first then states[i] = { nextEnd(items) } end
end
return { known, fence, unpack(states) }

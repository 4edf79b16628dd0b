-- Lists the tasks of a queue that are in one state, page by page. What is in that state all the time comes up at least once.
--
-- ARGV  2 "1" for payload and meta  3 queue  4 "scheduled", "waiting", "running" or "dead"  5 cursor, "" to begin  6 how
--       many at most are looked at
-- Reply {next cursor or "", id, what answered() in taskanswers.lua gives, ...}
-- Cost  one round trip; two commands a task, and the way in a lane to what the cursor names
local MOST = 4194304 -- bytes of data that are answered at most, but for those of one task
local full, q, state, cursor, limit = ARGV[2] == '1', queue(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
local letter = string.sub(state, 1, 1)
meetAll(q)
paused(q)

local reply, bytes, seen = { '' }, 0, {}

-- shows adds a task to the page, if it is in the state; false if there is no room for it.
local function shows(id)
  if seen[id] then return true end
  local answer = answered(id, full)
  local r = task(id)
  if answer == -2 then
    if letter ~= 'd' then return true end
  elseif type(answer) ~= 'table' or not answer.err and (r.s ~= letter or r.q ~= q.name) then
    return true
  end
  bytes = bytes + sizeOf(answer)
  if bytes > MOST and #reply > 1 then return false end
  seen[id] = true
  reply[#reply + 1], reply[#reply + 2] = id, answer
  return true
end

-- Lanes, those of the highest class first. A cursor is "<class> <attempts> <id>" of the last one that was looked at: what
-- stood in front of that still does, or has left. If it was taken meanwhile, everything in front of it was, too.
local LANES = { 1, 0, 2 }

-- from gives the place in a lane behind the id of a cursor, and the number of attempts that it belongs to.
local function from(lane, id, attempts)
  if (try('HGET', taskPrefix .. id, 'n') or '0') ~= attempts then return 0 end
  return (call('LPOS', lane, id) or -1) + 1
end

local function lanes()
  local class, attempts, id = string.match(cursor, '^([012]) (%d+) (.*)$')
  local begun = not class
  for i = 1, #LANES do
    local c = LANES[i]
    local lane = q.lanes[c]
    local place = 0
    if not begun and c == tonumber(class) then begun, place = true, from(lane, id, attempts) end
    if begun then
      local ids = call('LRANGE', lane, place, place + limit - 1)
      for j = 1, #ids do
        if not shows(ids[j]) then return end
        local r = task(ids[j])
        reply[1] = string.format('%d %s %s', c, int(r and r.n or 0), ids[j])
      end
      limit = limit - #ids
      if limit <= 0 then
        if place + #ids < call('LLEN', lane) then return end
        if i == #LANES then break end
        return
      end
    end
  end
  reply[1] = ''
end

-- Sorted sets. A cursor is "<score> <id>" of the last one that was looked at. If that has left, or moved, the next page
-- begins with those that have its score.
local function sorted(key)
  local score, id = string.match(cursor, '^(%S+) (.*)$')
  local place = 0
  if score then
    place = call('ZSCORE', key, id) == score and call('ZRANK', key, id) + 1 or call('ZCOUNT', key, '-inf', '(' .. score)
  end
  local list = call('ZRANGE', key, place, place + limit - 1, 'WITHSCORES')
  for i = 1, #list, 2 do
    if not shows(list[i]) then return end
    reply[1] = list[i + 1] .. ' ' .. list[i]
  end
  if place + #list / 2 >= q.met[state] then reply[1] = '' end
end

if state == 'waiting' then
  lanes()
else
  state = state == 'scheduled' and 'schedule' or state
  sorted(q[state])
end
flush()
return reply

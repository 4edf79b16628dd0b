-- Counts a queue, and changes nothing.
--
-- ARGV  2 the queue
-- Reply {scheduled, waiting, running, dead, ms since the first that waits was submitted, listeners, 1 if it is paused, done,
--       failed, expired, cancelled}
-- Cost  one round trip; some commands
local FEW = 10 -- ids at the front of a lane that are looked at together
local MOST = 1000 -- of them, until one is found that waits
local q = queue(ARGV[2])
meetAll(q)

-- oldest gives the time since the first that waits in a lane was submitted, 0 if there is none.
local function oldest(lane)
  for from = 0, MOST - 1, FEW do
    local ids = call('LRANGE', lane, from, from + FEW - 1)
    for i = 1, #ids do
      local v = try('HMGET', taskPrefix .. ids[i], 's', 'q', 'k')
      if not v.err and v[1] == 'w' and v[2] == q.name then
        return math.max(ms - (whole(v[3] and string.match(v[3], '^%d+')) or ms), 0)
      end
    end
    if #ids < FEW then break end
  end
  return 0
end

local met = q.met
local ghosts = met.ghosts > 0 and whole(call('HGET', q.ghosts, '')) or 0
local waiting = math.max(met[0] + met[1] + met[2] - ghosts, 0)
local age = 0
for c = 0, 2 do
  if waiting > 0 and met[c] > 0 then age = math.max(age, oldest(q.lanes[c])) end
end
local live = met.listeners > 0 and call('ZCOUNT', q.listeners, ms, '+inf') or 0
if live == 0 then live = call('EXISTS', q.listen) end -- one of Python's
local totals = call('HMGET', q.totals, 'done', 'failed', 'expired', 'cancelled')
for i = 1, 4 do totals[i] = whole(totals[i]) or 0 end
return { met.schedule, waiting, met.running, met.dead > 0 and call('ZCOUNT', q.dead, ms + 1, '+inf') or 0, age, live,
  paused(q) and 1 or 0, unpack(totals) }

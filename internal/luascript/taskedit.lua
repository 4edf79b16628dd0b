-- Cancels, removes or revives tasks, or pauses or resumes a queue.
--
-- ARGV  2 "cancel", "remove" or "revive" and 3... ids; or "pause" or "resume" and 3 a queue
-- Reply a digit for each id: 1 if something was done
-- Cost  one round trip; some commands a task
local action = ARGV[2]
local KEEP = 60000 -- ms for which a record is kept at least when the time of its task is over

-- What is written to is read first.
if action == 'pause' or action == 'resume' then
  local q = queue(ARGV[3])
  meetAll(q)
  local was = paused(q)
  if action == 'pause' then
    if not was then call('SADD', pausedKey, q.name) end
  elseif was then
    call('SREM', pausedKey, q.name)
    q.paused = false
    local ghosts = whole(call('HGET', q.ghosts, '')) or 0
    q.wakes = math.max(q.met[0] + q.met[1] + q.met[2] - ghosts, 0)
  end
  flush()
  return ''
end
for i = 3, #ARGV do
  local r = task(ARGV[i])
  if r and not r.foreign then
    local q = queue(r.q)
    meetAll(q)
    paused(q)
  end
end

local edits = {}

function edits.cancel(r)
  if not r or not LIVE[r.s] then return false end
  finish(r, 'cancelled', ms, '')
  return true
end

function edits.remove(r, id)
  if not r or r.final then
    return call('UNLINK', resultPrefix .. id) == 1
  end
  if not r.foreign then
    if r.s ~= 'd' then return false end
    local q = queue(r.q)
    q.rose = q.rose or {}
    add(q.rose, id)
  end
  call('UNLINK', r.key)
  tasks[id] = false
  return true
end

function edits.revive(r, id)
  if not r or r.s ~= 'd' then return false end
  local timeout = whole(call('HGET', r.key, 'o')) or math.max(r.x - r.t, 1)
  local q = queue(r.q)
  q.rose = q.rose or {}
  add(q.rose, id)
  r.x, r.n, r.y, r.u, r.w = ms + timeout, 0, 0, '', nil
  waits(r, false, 'x', int(r.x), 'n', 0, 'y', 0, 'u', '', 'h', '', 'a', 0, 'o', int(timeout))
  call('PEXPIREAT', r.key, int(r.x + math.max(whole(r.kept) or 0, whole(r.buried) or 0) + KEEP))
  return true
end

local done = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local r = task(id)
  if r then current(r) end
  done[i - 2] = edits[action](r, id) and '1' or '0'
end
for i = 1, #order do
  local q = order[i]
  if q.rose then call('ZREM', q.dead, unpack(q.rose)) end
end
flush()
return table.concat(done)

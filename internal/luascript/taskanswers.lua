-- How tasks are told of; put in front of the scripts that watch, look or list, behind tasks.lua.

-- isDue tells whether time has something to change about a task.
local function isDue(r)
  return LIVE[r.s] and (r.x <= ms or r.s == 'r' and r.z <= ms or r.s == 's' and r.a <= ms)
end

-- refused reads all keys of a queue that may be written to, and gives the error if one of them is of the wrong type.
local function refused(q)
  if q.refused == nil then
    local ok, e = pcall(function()
      meetAll(q)
      paused(q)
    end)
    local text = not ok and (type(e) == 'table' and e.err or tostring(e))
    if text and not string.find(text, 'WRONGTYPE', 1, true) then error(text) end
    q.refused = text and { err = text } or false
  end
  return q.refused
end

-- answered tells how a task stands. It gives what info() in tasks.lua does; the JSON object of its final state; -1 if there
-- is none, or -2 if it is foreign; or an error, if time has something to change and cannot.
local function answered(id, full)
  local r = task(id)
  if r and not r.foreign and not r.final and isDue(r) then
    local e = refused(queue(r.q))
    if e then return e end
    current(r)
  end
  if not r then
    local text = result(id)
    return text == true and -2 or text or -1
  end
  if r.foreign then return -2 end
  if r.final then return r.final end
  if full and not r.p then -- it was read without
    r.p, r.m = unpack(call('HMGET', r.key, 'p', 'm'))
  end
  return info(r, full)
end

-- sizeOf gives the bytes of data in an answer.
local function sizeOf(answer)
  if type(answer) == 'string' then return #answer end
  local n = 0
  for i = 10, type(answer) == 'table' and #answer or 0 do n = n + #answer[i] end
  return n
end

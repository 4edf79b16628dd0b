-- Says that a process watches tasks, and how they stand.
--
-- ARGV  2 process  3... for each task: a mark, its id. The mark is "" for who wants to know only when it has ended, "?" for
--       who wants to know once how it stands, too, and "+" for who wants to know of progress, with what came last behind
-- Reply for each task, or for the first of them if their data is long: the milliseconds until its time is over, if it goes
--       on and there is nothing else to tell; what answered() in taskanswers.lua gives; with "+" and a mark behind if it goes on
-- Cost  one round trip; one command a task, some more for one of which there is something to tell
local MOST = 4194304 -- bytes of data that are answered at most, but for those of one task
local process = ARGV[2]
local named = ' ' .. process .. ' '

-- left gives how long a task has that goes on and whose watch is known, nil if there may be more to tell.
local function left(id)
  local v = try('HMGET', taskPrefix .. id, 's', 'x', 'z', 'a', 'w')
  local r = not v.err and { s = v[1], x = whole(v[2]), z = whole(v[3] or 0), a = whole(v[4] or 0), w = v[5] }
  if not r or not LIVE[r.s] or not r.x or not r.z or not r.a or not r.w or isDue(r) then return nil end
  return string.find(' ' .. string.gsub(r.w, '%+', ' '), named, 1, true) and r.x - ms
end

-- markOf tells one progress from another.
local function markOf(r)
  local p = r.r or ''
  if #p > 2 * MOST then p = #p .. string.sub(p, 1, MOST) .. string.sub(p, -MOST) end
  return '+' .. redis.sha1hex(table.concat({ r.s, int(r.n), int(r.y), int(r.a), r.e or '', p }, ' '))
end

local replies, bytes = {}, 0
for i = 3, #ARGV, 2 do
  local mark, id = ARGV[i], ARGV[i + 1]
  local progress = string.sub(mark, 1, 1) == '+'
  local answer = mark == '' and left(id) or answered(id)
  local r = type(answer) == 'table' and not answer.err and task(id)
  if r and LIVE[r.s] then
    watch(r, process, progress)
    local new = progress and markOf(r)
    if mark == '' or mark == new then answer = r.x - ms
    elseif new then answer[12], answer[13], answer[14], answer[15] = '', '', '', new end
  end
  bytes = bytes + sizeOf(answer)
  if bytes > MOST and #replies > 0 then break end
  replies[#replies + 1] = answer
end
flush()
return replies

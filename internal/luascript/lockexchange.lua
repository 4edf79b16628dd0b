-- Unlocks, then renews, then locks: one call for many callers.
--
-- ARGV  2 "2 0 1 mixed": the numbers of unlocks, renewals and locks, and the form: "plain" where every lock is of one name,
--       alone; "apart" if, besides, no name comes up twice; and see lockone.lua
--       3... the unlocks, the renewals, the locks
--       unlock   name token
--       renewal  name token ttl
--       lock     token ttl flags [arguments of the flags] names, then for each: name units limit
--                where all is plain: token ttl name
--                flags, each with its arguments behind, in this order: a mark, again  d downgrade  w process claim
--                priority, ready to wait  j join the line, take nothing, whatever the
--                limits are by now
-- Reply {unlocked, renewed, lock...}: a digit for each unlock and renewal, and for each lock a list: {0} refused;
--       {1, fence...} granted; {2, first, deadline, known} waiting: first is 1 if nobody is in front in one of its lines,
--       deadline is then the milliseconds to the first end of a lease it waits for (-1: none), known as in stay();
--       {3, i, limit} the i-th name, from 1, has this limit. Where all is plain: the fence for each lock, 0 if it is refused
-- Cost  one round trip; O(log holders) for each item
local at = 3

local function argument()
  at = at + 1
  return ARGV[at - 1]
end

-- The names and the tokens that come up, so that they are read in one call each.
local unlocked, renewed, asked = {}, {}, {}
do
  local list, tokens = {}, {}
  for i = 1, unlocks + renewals do
    local it = { argument(), argument() }
    if i > unlocks then it[3] = tonumber(argument()) end
    asked[i], list[i], tokens[i] = it, it[1], it[2]
  end
  for i = 1, locks do
    local r = { token = argument(), ttl = tonumber(argument()), flags = '', items = {} }
    local n = 1
    if form == 'mixed' then
      r.flags = argument()
      if string.find(r.flags, 'a', 1, true) then r.mark = argument() end
      if string.find(r.flags, 'w', 1, true) then
        r.process, r.claim, r.priority = argument(), tonumber(argument()), tonumber(argument())
      end
      n = tonumber(argument())
    end
    for j = 1, 3 * n, 3 do
      local name = argument()
      r.items[j], r.items[j + 1], r.items[j + 2] = name, 0, 0
      if form == 'mixed' then r.items[j + 1], r.items[j + 2] = tonumber(argument()), tonumber(argument()) end
      list[#list + 1] = name
    end
    asked[#asked + 1] = r
  end
  fetch(list)
  fetchRequests(tokens)
end

for i = 1, unlocks do unlocked[i] = unlock(asked[i][1], asked[i][2]) and '1' or '0' end
for i = 1, renewals do
  local it = asked[unlocks + i]
  renewed[i] = renew(it[1], it[2], it[3]) and '1' or '0'
end

-- other gives the first name that has another limit than the request believes.
local function other(items)
  for i = 1, #items, 3 do
    if items[i + 1] > 0 then
      local limit = limitOf(look(items[i]))
      if limit > 0 and limit ~= items[i + 2] then return { 3, (i + 2) / 3, limit } end
    end
  end
end

-- has tells whether the token has the name already, in the same way.
local function has(n, token, units)
  if units == 0 then return n.owner == token end
  local h = n.shared and holder(n, token)
  return h and h[1] == units
end

local function downgrade(r)
  local answer = { 1 }
  for i = 1, #r.items, 3 do
    if look(r.items[i]).owner ~= r.token then return { 0 } end
  end
  for i = 1, #r.items, 3 do
    local n = look(r.items[i])
    confirm(r.items[i], r.token)
    local entries, marks = entriesOf(n), n.marks
    local ends = entries > 1 and ownEnd(n) or 0
    n.owner = false
    answer[#answer + 1] = have(n, r.token, r.items[i + 1], r.items[i + 2], r.ttl, marks)
    local h = n.holders[r.token]
    h[2], h[4] = entries, math.max(h[4], ends)
    attend(n)
  end
  return answer
end

local function lock(r)
  local items = r.items
  for i = 1, #items, 3 do
    local n = look(items[i])
    if waiters(n) then attend(n) end
  end
  serve()
  local fine = not string.find(r.flags, 'j', 1, true)
  for i = 1, #items, 3 do
    local n, units = look(items[i]), items[i + 1]
    fine = fine and (r.mark and has(n, r.token, units)
      or overtakes(n, r.priority) and able(n, r.token, units, items[i + 2]))
  end
  if not fine then
    if not r.process then return { 0 } end
    join(r.token, r.process, r.claim, r.priority, items)
    return nil
  end
  local answer = { 1 }
  for i = 1, #items, 3 do
    local n, units = look(items[i]), items[i + 1]
    if r.mark and has(n, r.token, units) then answer[#answer + 1] = again(n, r.token, units, r.ttl, r.mark)
    else
      if r.mark then confirm(items[i], r.token) end -- an earlier hand-over of it, which is over
      answer[#answer + 1] = have(n, r.token, units, items[i + 2], r.ttl, r.mark and withMark('', r.mark) or '')
      n.overtaken = n.front ~= nil -- who has to watch the end of this lease, too
    end
  end
  return answer
end

local answers = {}
for i = 1, locks do -- those who wait for units come behind those who make room for them
  local r = asked[unlocks + renewals + i]
  if string.find(r.flags, 'd', 1, true) then answers[i] = other(r.items) or downgrade(r) end
end
serve()
for i = 1, locks do
  local r = asked[unlocks + renewals + i]
  if not answers[i] then answers[i] = not string.find(r.flags, 'j', 1, true) and other(r.items) or lock(r) or r end
end

flush()

if form == 'lock' then return answers[1][2] or 0 end
if form == 'unlock' then return tonumber(unlocked[1]) end

if form == 'mixed' then
  local processes, known = {}, {}
  for i = 1, locks do
    local r = answers[i]
    if r.items then
      local tokens = processes[r.process] or {}
      tokens[#tokens + 1], processes[r.process] = r.token, tokens
    end
  end
  for process, tokens in pairs(processes) do known[process] = stay(process, tokens) end
  for i = 1, locks do
    local r, front = answers[i], 0
    if r.items then
      for j = 1, #r.items, 3 do
        if call('ZRANGE', linePrefix .. r.items[j], 0, 0)[1] == r.token then front = 1 end
      end
      answers[i] = { 2, front, front == 1 and nextEnd(r.items) or -1, known[r.process] }
    end
  end
  return { table.concat(unlocked), table.concat(renewed), unpack(answers) }
end

local fences = {}
for i = 1, locks do fences[i] = answers[i][2] or 0 end
return { table.concat(unlocked), table.concat(renewed), unpack(fences) }

-- Returns, then renews, then hands over and takes: one call for many callers.
--
-- ARGV  4 what it is about: "take" or "return" if that is one, and plain; or "2 0 1 5 plain": the numbers of returns, of
--       renewals, of takes, of members to collect (about; 0 for none), and "plain" or "mixed"
--       5... the returns, the renewals, the takes; behind the one of "take", the members to collect, if any
--       return   member token
--       renewal  member token ttl [newtoken]    newtoken: "" keeps the token; left out where all is plain
--       take     token ttl [count flags]        flags, each with its own arguments behind them, in this order:
--                s shared  o only  b name ttl  p n member...  w process claim priority  j join, take nothing
--                left out where all is plain: one member, no flags
-- Reply {returned, renewed, take...}: a digit for each return and renewal, and for each take a list:
--       {} refused, {member, fence, ...} granted, {first, deadline, known} as integers when it waits: first is 1 if
--       nobody is in front, deadline the milliseconds to the next end of a lease (-1: none), known as in watch.lua;
--       {-1} if it has to ask again, because there was more to put right than one step may take.
--       If all is plain: {returned, renewed, fence, member...}, the members for the first so many takes, the fence
--       for the first of them, one more for each that follows; the other takes are refused, or, if the fence is
--       negative (then the right one is -1 - fence), have to ask again.
-- Cost  one round trip; O(log leases) for each item
local at = 5

local function argument()
  at = at + 1
  return ARGV[at - 1]
end

local returned, renewed = {}, {}
local renewTTL, renewToken = {}, {} -- written last

lapse()

if returns > 0 then
  local members = {}
  for i = 1, returns do members[i] = ARGV[at + 2 * i - 2] end
  fetchLocks(members)
  fetch(members)
  for i = 1, returns do
    local member, token = argument(), argument()
    if locks[member] == token then
      returned[i] = '1'
      dropLock(member)
      local n = nodes[member]
      if n then free(member, n) end
    else
      returned[i] = '0'
    end
  end
end

if renewals > 0 then
  local members, tokens = {}, {}
  local width = allPlain and 3 or 4
  for i = 1, renewals do members[i] = ARGV[at + width * (i - 1)] end
  fetchLocks(members)
  for i = 1, renewals do
    local member, token, ttl, new = argument(), argument(), tonumber(argument()), ''
    if not allPlain then new = argument() end
    tokens[i] = token
    if locks[member] == token then
      renewed[i] = '1'
      renewTTL[member] = ttl
      if new ~= '' then
        renewToken[member], locks[member] = new, new
        node(member)
      end
    else
      renewed[i] = '0'
    end
  end
  fetchRequests(tokens)
  for i = 1, renewals do confirm(members[i], tokens[i]) end
end

if takes > 0 and head == '' then call('HLEN', pool) end -- fails on a key of another type
if riding > 0 then collect(collectNow or riding, not collectNow) end

-- the class of the first in line; who belongs to a higher one, and is ready to wait, goes in front
local busy, class = #waiters.page > 0 and serve(), nil
if busy then class = priorityOf(tonumber(call('ZSCORE', line, (first())))) end

local answers, waiting = {}, {}
for i = 1, takes do
  local r = { token = argument(), ttl = tonumber(argument()), count = 1, prefer = {} }
  local flags, process, claim, priority = '', nil, nil, nil
  if not allPlain then r.count, flags = tonumber(argument()), argument() end
  if flags ~= '' then
    r.shared = string.find(flags, 's', 1, true) ~= nil
    r.only = string.find(flags, 'o', 1, true) ~= nil
    if string.find(flags, 'b', 1, true) then r.bind, r.bindTTL = argument(), tonumber(argument()) end
    if string.find(flags, 'p', 1, true) then
      for j = 1, tonumber(argument()) do r.prefer[j] = argument() end
    end
    if string.find(flags, 'w', 1, true) then
      process, claim, priority = argument(), tonumber(argument()), tonumber(argument())
    end
  end
  local members, fences
  if (not busy or r.only or process and priority > class) and not string.find(flags, 'j', 1, true) then
    members, fences = grant(r, r.ttl)
  end
  if members then
    local answer = {}
    for j = 1, #members do
      answer[2 * j - 1] = members[j]
      answer[2 * j] = fences[j]
    end
    answers[i] = answer
  elseif unfinished and not busy then
    answers[i] = { -1 }
  elseif process then
    local old = request(r.token)
    if not old or old[9] or not call('ZSCORE', line, r.token) then -- otherwise it keeps its place
      isAlive(process) -- reads, so that a key of another type is met before anything is written
      arrivals[r.token], left[r.token] = place(priority), nil
      requestsOf[r.token] = { process, claim, r.count, r.shared and 1 or 0, r.bind or '', r.bindTTL or 0, r.prefer, us }
      records[r.token] = requestsOf[r.token]
    end
    class = math.max(busy and class or priority, priority)
    busy = true
    waiting[i] = r.token
  else
    answers[i] = {}
  end
end

flush()

local index, moved = {}, { leases, 'XX' }
for member, ttl in pairs(renewTTL) do
  local key, token = lockPrefix .. member, renewToken[member]
  local score = endOf(ttl)
  if ttl >= 0 then
    if token then call('SET', key, token, 'PXAT', int(score)) else call('PEXPIREAT', key, int(score)) end
  elseif token then call('SET', key, token)
  else call('PERSIST', key)
  end
  if token and nodes[member] then index[member] = score
  else
    moved[#moved + 1] = int(score)
    moved[#moved + 1] = member
  end
end
if next(index) then batch('ZADD', leases, index, scored) end
if #moved > 2 then call('ZADD', unpack(moved)) end

if next(waiting) then
  local deadline, front = nextDeadline(), call('ZRANGE', line, 0, 0)[1]
  local known = {}
  for i, token in pairs(waiting) do
    local process = request(token)[1]
    if known[process] == nil then known[process] = stay(process) end
    answers[i] = { token == front and 1 or 0, deadline, known[process] }
  end
end

if allPlain then
  local reply = { table.concat(returned), table.concat(renewed), answers[1] and answers[1][2] or 0 }
  for i = 1, takes do
    if answers[i][1] == -1 then
      reply[3] = -1 - reply[3]
      break
    end
    reply[i + 3] = answers[i][1]
  end
  return reply
end
return { table.concat(returned), table.concat(renewed), unpack(answers) }


-- Lists the members of a set page by page, or tells which of some names are members; with their locks, if asked.
--
-- KEYS  1 set
-- ARGV  1 prefix of lock keys  2 "1" to look at the locks, too  3 cursor  4 limit  5... the only names to look for
-- Reply {cursor or "", total, name...}; with locks {cursor or "", total, name, value or false, PTTL, ...}, the value
--       being false if there is none or it is no string
-- Cost  one round trip; O(limit). A set that is not larger than the limit comes on one page
local call = redis.call
local total = call('SCARD', KEYS[1])
local names, cursor = {}, '0'
if #ARGV > 4 then
  local are = call('SMISMEMBER', KEYS[1], unpack(ARGV, 5))
  for i = 1, #are do
    if are[i] == 1 then names[#names + 1] = ARGV[i + 4] end
  end
else
  cursor = ARGV[3]
  repeat -- what fits on one page comes on one: SSCAN stops when it has COUNT names, also if there are no more
    local page = call('SSCAN', KEYS[1], cursor, 'COUNT', ARGV[4])
    cursor = page[1]
    for i = 1, #page[2] do names[#names + 1] = page[2][i] end
  until cursor == '0' or total > tonumber(ARGV[4])
end

local reply = { cursor == '0' and '' or cursor, total }
if ARGV[2] ~= '1' then
  for i = 1, #names do reply[i + 2] = names[i] end
  return reply
end

local SLICE = 1000 -- unpack cannot give many more
for from = 1, #names, SLICE do
  local keys = {}
  for i = from, math.min(from + SLICE - 1, #names) do keys[#keys + 1] = ARGV[1] .. names[i] end
  local values = call('MGET', unpack(keys)) -- of what is no string it makes false, where GET would fail
  for i = 1, #keys do
    reply[#reply + 1] = names[from + i - 1]
    reply[#reply + 1] = values[i]
    reply[#reply + 1] = call('PTTL', keys[i])
  end
end
return reply

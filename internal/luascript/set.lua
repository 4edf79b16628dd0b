-- Writes values under conditions, all or none, or each for itself.
--
-- KEYS  values, and last the fence
-- ARGV  1 "1" for each for itself  2 "1" to draw fencing numbers  3... value, TTL in ms or -1, condition, operand of each
-- Reply {digits, fence...}: a digit for each value, and a fence (0 for what was not written) for each if drawn
-- Cost  one round trip; O(values)
local each, fenced, n = ARGV[1] == '1', ARGV[2] == '1', #KEYS - 1
local stored, write, good = {}, {}, true
for i = 1, n do
  local a = 4 * i - 1
  local now = stored[KEYS[i]]
  if now == nil then now = call('GET', KEYS[i]) end
  write[i] = holds(tonumber(ARGV[a + 2]), ARGV[a + 3], now)
  good = good and write[i]
  if write[i] then stored[KEYS[i]] = ARGV[a] end
end

if bad then return NOT_NUMBER end

local fence, drawn = 0, false
if fenced then fence = tonumber(call('GET', KEYS[n + 1]) or 0) or 0 end
local clock = call('TIME')
local digits, fences = {}, {}
for i = 1, n do
  local a = 4 * i - 1
  digits[i], fences[i] = '0', 0
  if write[i] and (each or good) then
    digits[i] = '1'
    if ARGV[a + 1] == '-1' then call('SET', KEYS[i], ARGV[a]) else call('SET', KEYS[i], ARGV[a], 'PX', ARGV[a + 1]) end
    if fenced then
      fence = math.max(fence + 1, clock[1] * 1000000 + clock[2])
      fences[i], drawn = fence, true
    end
  end
end
if not fenced then return { table.concat(digits) } end
if drawn then call('SET', KEYS[n + 1], string.format('%.0f', fence)) end
return { table.concat(digits), unpack(fences) }

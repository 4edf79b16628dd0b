-- Removes values under conditions, all or none, or each for itself.
--
-- KEYS  values
-- ARGV  1 "1" for each for itself  2... condition, operand of each
-- Reply a digit for each: whether there was a value and it was removed
-- Cost  one round trip; O(values)
local each, remove, good = ARGV[1] == '1', {}, true
local existed = {}
for i = 1, #KEYS do
  local condition = tonumber(ARGV[2 * i])
  -- what is removed whatever it is need not be text
  local stored = condition == ALWAYS and call('EXISTS', KEYS[i]) == 1 or condition ~= ALWAYS and call('GET', KEYS[i])
  existed[i] = stored ~= false
  remove[i] = holds(condition, ARGV[2 * i + 1], stored)
  good = good and remove[i]
end

if bad then return NOT_NUMBER end

local digits = {}
for i = 1, #KEYS do
  digits[i] = '0'
  if remove[i] and existed[i] and (each or good) then digits[i] = tostring(call('DEL', KEYS[i])) end
end
return table.concat(digits)

-- The conditions under which values are written or removed; put in front of set and delete once, when they are
-- loaded. The numbers are those of backend.Condition.
local call = redis.call
local ALWAYS, IF_ABSENT, IF_EQUAL, IF_ABSENT_OR_EQUAL = 0, 1, 2, 3
local GREATER, GREATER_OR_EQUAL, LESS, LESS_OR_EQUAL, NUM_EQUAL, NUM_NOT_EQUAL = 4, 5, 6, 7, 8, 9
local TOLERANCE = 1e-6

local NOT_NUMBER = redis.error_reply('NOTNUMBER stored value is not a number')
local bad = false -- a number was asked for and there was none

local function number(s)
  local n = string.match(s, '^[%d%+%-%.eE]+$') and tonumber(s)
  if n and n ~= math.huge and n ~= -math.huge then return n end
  bad = true
  return 0
end

local function holds(condition, operand, stored)
  if condition == ALWAYS then return true end
  if condition == IF_ABSENT then return not stored end
  if condition == IF_EQUAL then return stored == operand end
  if condition == IF_ABSENT_OR_EQUAL then return not stored or stored == operand end
  if not stored then return true end
  local d = number(operand) - number(stored)
  if condition == GREATER then return d > 0 end
  if condition == GREATER_OR_EQUAL then return d >= -TOLERANCE end
  if condition == LESS then return d < 0 end
  if condition == LESS_OR_EQUAL then return d <= TOLERANCE end
  if condition == NUM_EQUAL then return math.abs(d) <= TOLERANCE end
  return math.abs(d) > TOLERANCE
end

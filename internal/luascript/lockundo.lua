-- Takes back what calls may have done whose answer never came, or whose callers have gone.
--
-- ARGV  2... for each of them: token kind number-of-names name...    kind:
--       "line"   it waits no more, and gives back what was handed over to it and has not been renewed
--       "all"    the same, and gives back whatever of these names it has: it was granted without waiting
--       "have"   it gives back what it has of these names
--       "+mark"  it gives back what the request with that mark was counted for
-- Reply the number of names given back
-- Cost  one round trip; O(names)
local at, returned = 2, 0

while at <= #ARGV do
  local token, kind, names = ARGV[at], ARGV[at + 1], {}
  for i = 1, tonumber(ARGV[at + 2]) do names[i] = ARGV[at + 2 + i] end
  at = at + 3 + #names
  fetch(names)
  if kind == 'line' or kind == 'all' then
    local _, n = leave(token, names)
    returned = returned + n
  end
  if kind ~= 'line' then
    local mark = string.sub(kind, 1, 1) == '+' and string.sub(kind, 2) or nil
    for i = 1, #names do
      if unlock(names[i], token, mark) then returned = returned + 1 end
    end
  end
end
serve()
flush()
return returned

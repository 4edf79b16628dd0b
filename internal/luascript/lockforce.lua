-- Frees names whoever holds them, and hands them to those who wait.
--
-- ARGV  2... names
-- Reply a digit for each: whether somebody held it
-- Cost  one round trip; O(names)
local digits, list = {}, { unpack(ARGV, 2) }
fetch(list)
for i = 1, #list do
  local n = look(list[i])
  digits[i] = (n.owner or n.shared) and '1' or '0'
  if n.owner then
    confirm(n.name, n.owner)
    entriesOf(n)
  end
  n.owner, n.shared, n.units, n.count, n.holders, n.moved, n.gone = false, false, 0, 0, {}, {}, {}
  change(n)
  attend(n)
end
serve()
flush()
return table.concat(digits)

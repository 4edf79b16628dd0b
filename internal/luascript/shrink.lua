-- Removes members; their locks stay.
--
-- ARGV  4... members
-- Reply {removed}
-- Cost  one round trip; O(members)
local members, removed = { unpack(ARGV, 4) }, 0

fetch(members)
for i = 1, #members do
  local n = nodes[members[i]]
  if n then
    drop(members[i], n)
    removed = removed + 1
  end
end
flush()
return { removed }

-- Sets the limit of a name, and hands out what it lets those who wait have.
--
-- ARGV  2 name  3 limit, 0 to forget it
-- Reply 1
-- Cost  one round trip; O(those who are handed something)
local n = look(ARGV[2])
limitOf(n) -- reads, so that a key of another type is met
n.limit = tonumber(ARGV[3])
newLimits[n.name] = n.limit
attend(n)
serve()
flush()
return 1

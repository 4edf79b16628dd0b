-- Lists the names of keys, page by page. Being a script, it goes to the node of a Cluster that has the key's slot.
--
-- KEYS  1 a key of the namespace, for its slot alone
-- ARGV  1 prefix of the keys  2 the same as a pattern  3 cursor  4 limit
-- Reply {cursor or "", name without prefix, ...}
-- Cost  one round trip; O(limit), of a walk through the whole database
local page = redis.call('SCAN', ARGV[3], 'MATCH', ARGV[2], 'COUNT', ARGV[4])
local reply, from = { page[1] == '0' and '' or page[1] }, #ARGV[1] + 1
for i = 1, #page[2] do reply[i + 1] = string.sub(page[2][i], from) end
return reply

-- Puts back what lost fetches were granted.
--
-- ARGV  2 queue  3 ms since the first of them was sent, and some more  4 ms of their leases  5 where to go on, from 0  6 how
--       many leases to look at  7... tokens of the fetches
-- Reply {leases looked at, tasks put back}
-- Cost  one round trip; one command for each lease
local q = queue(ARGV[2])
meetAll(q)
local tokens = {}
for i = 7, #ARGV do tokens[ARGV[i]] = true end
local ids = call('ZRANGEBYSCORE', q.running, int(ms - tonumber(ARGV[3])), int(ms + tonumber(ARGV[4])), 'LIMIT', ARGV[5], ARGV[6])
local back = 0
for i = 1, #ids do
  local r = task(ids[i])
  if r and not r.foreign and r.s == 'r' and tokens[r.u] then
    r.n, r.u = math.max(r.n - 1, 0), ''
    waits(r, true, 'n', r.n, 'u', '')
    back = back + 1
  end
end
flush()
return { #ids, back }

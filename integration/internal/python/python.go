// Package python works on a pool as processes of the Python library do: it knows the free list, the locks and the bindings,
// writes "1" into its locks, and has never heard of tokens, deadlines or lines. These scripts are the shortest that do so. Their
// KEYS are the pool, its head and its tail, ARGV[1] is the prefix of the locks.
package python

const links = `
local pool, head, tail = KEYS[1], KEYS[2], KEYS[3]
local function links(member)
  local value = redis.call('HGET', pool, member)
  if not value then return nil end
  return string.match(value, '^(.-)||(.-)||(.*)$')
end
local function write(member, prev, next, expiry)
  redis.call('HSET', pool, member, prev .. '||' .. next .. '||' .. expiry)
end
local function remove(member)
  local prev, next, expiry = links(member)
  if prev == '' then redis.call('SET', head, next) else
    local p, _, e = links(prev)
    write(prev, p, next, e)
  end
  if next == '' then redis.call('SET', tail, prev) else
    local _, n, e = links(next)
    write(next, prev, n, e)
  end
  write(member, '#ALLOCATED', '#ALLOCATED', expiry)
end
local function append(member)
  local _, _, expiry = links(member)
  local last = redis.call('GET', tail) or ''
  if last == '' then redis.call('SET', head, member) else
    local p, _, e = links(last)
    write(last, p, member, e)
  end
  write(member, last, '', expiry)
  redis.call('SET', tail, member)
end
local function locked(member) return redis.call('EXISTS', ARGV[1] .. member) == 1 end
`

const (
	// Malloc takes a member for ARGV[2] ms, and gives nil if none is free.
	Malloc = links + `
while true do
  local member = redis.call('GET', head) or ''
  if member == '' then return false end
  remove(member)
  if not locked(member) then
    redis.call('SET', ARGV[1] .. member, '1', 'PX', ARGV[2])
    return member
  end
end`
	// Free gives the member ARGV[2] back.
	Free = links + `
redis.call('DEL', ARGV[1] .. ARGV[2])
if links(ARGV[2]) == '#ALLOCATED' then append(ARGV[2]) end
return 1`
	// Collect frees what nobody has locked, marks as taken what somebody has, and tells how much it found.
	Collect = links + `
local all, found = redis.call('HKEYS', pool), 0
for i = 1, #all do
  local member = all[i]
  if links(member) == '#ALLOCATED' then
    if not locked(member) then append(member) found = found + 1 end
  elseif locked(member) then remove(member) found = found + 1 end
end
return found`
)

package stress

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// guard is the model of what members, locks and tasks protect: a store that refuses who comes too late. It knows nothing of
// the library, and its keys lie outside of the library's namespaces. A call whose answer is lost is made again: each of
// them may be.
type guard struct {
	client rueidis.Client
	prefix string
}

// The keys of a guard live as long, so that a run that was cut short leaves nothing for ever.
const guardTTL = 24 * time.Hour

// dial connects without the library, as redis-cli does, also where the server is away for a moment.
func dial(ctx context.Context, url string) (rueidis.Client, error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	option.DisableCache = true
	option.Dialer.Timeout, option.ConnWriteTimeout = patience, patience
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return insist(ctx, func() (rueidis.Client, error) { return rueidis.NewClient(option) })
}

func (g *guard) key(kind, name string) string { return g.prefix + kind + ":" + name }

// ask runs a script on one key, which gives two numbers.
func (g *guard) ask(ctx context.Context, script *rueidis.Lua, key string, args ...string) (verdict, other int64, err error) {
	reply, err := insist(ctx, func() ([]int64, error) {
		return script.Exec(ctx, g.client, []string{key}, append(args, millis(guardTTL))).AsIntSlice()
	})
	if err != nil {
		return 0, 0, err
	}
	if len(reply) != 2 {
		return 0, 0, fmt.Errorf("%s: %v", key, reply)
	}
	return reply[0], reply[1], nil
}

// What guards say.
const (
	refused  = 0
	accepted = 1
	unknown  = -1 // nothing is known of it
)

// touchScript remembers the newest fence of those who wrote and of those who read. A writer must not come after anybody newer,
// a reader not after a newer writer. It gives the fence that it was compared with.
var touchScript = rueidis.NewLuaScript(`
local fence, write = tonumber(ARGV[1]), ARGV[2] == 'w'
local newest = tonumber(redis.call('HGET', KEYS[1], 'w') or 0)
if write then newest = math.max(newest, tonumber(redis.call('HGET', KEYS[1], 'r') or 0)) end
if fence < newest then return {0, newest} end
if fence > tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or 0) then redis.call('HSET', KEYS[1], ARGV[2], ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, newest}`)

// touch shows a fence, of one who writes or of one who only reads.
func (g *guard) touch(ctx context.Context, name string, fence int64, write bool) (ok bool, newest int64, err error) {
	mode := "r"
	if write {
		mode = "w"
	}
	verdict, newest, err := g.ask(ctx, touchScript, g.key("fence", name), number(fence), mode)
	return verdict == accepted, newest, err
}

// enterScript counts the units of those who are in: until they leave, or their time is over. It gives how many there are.
var enterScript = rueidis.NewLuaScript(`
local token, units, limit, until_ = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local now, sum = t[1] * 1000 + math.floor(t[2] / 1000), units
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local u, e = string.match(all[i + 1], '^(%d+) (%d+)$')
  if tonumber(e) <= now then redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= token then sum = sum + tonumber(u) end
end
if sum > limit then return {0, sum} end
if until_ > now then
  redis.call('HSET', KEYS[1], token, units .. ' ' .. string.format('%.0f', until_))
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return {1, sum}`)

// enter has a holder of units come in, who leaves before he gives them back, and has them until a deadline at least.
func (g *guard) enter(
	ctx context.Context, name, token string, units, limit int, deadline time.Time,
) (ok bool, sum int64, err error) {
	now, err := insist(ctx, func() ([]int64, error) {
		return g.client.Do(ctx, g.client.B().Time().Build()).AsIntSlice()
	})
	if err != nil {
		return false, 0, err
	}
	// The server has read its clock before this moment: what is left now is over by its clock no earlier than this says.
	until := now[0]*1000 + now[1]/1000 + time.Until(deadline).Milliseconds()
	verdict, sum, err := g.ask(ctx, enterScript, g.key("units", name), token, strconv.Itoa(units), strconv.Itoa(limit),
		number(max(until, 0)))
	return verdict == accepted, sum, err
}

// leave ends what enter began.
func (g *guard) leave(ctx context.Context, name, token string) error {
	_, err := insist(ctx, func() (int64, error) {
		return g.client.Do(ctx, g.client.B().Hdel().Key(g.key("units", name)).Field(token).Build()).AsInt64()
	})
	return err
}

// insist does something until the server answers. What is done must bear to be done twice.
func insist[T any](ctx context.Context, do func() (T, error)) (T, error) {
	for {
		got, err := do()
		if e, answered := rueidis.IsRedisErr(err); err == nil || ctx.Err() != nil ||
			answered && !e.IsLoading() && !e.IsTryAgain() && !e.IsClusterDown() {
			return got, err
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// pause lets d pass, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func millis(d time.Duration) string { return number(d.Milliseconds()) }

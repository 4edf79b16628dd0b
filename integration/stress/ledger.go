package stress

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// The ledger is the guard's part about tasks: which there are, what those who do them have done, and what those were told
// who wait for them. It is written before a task is submitted, and struck out by the accountant when it has ended.

// entry is one task of the ledger.
type entry struct {
	ID    string
	Born  time.Time
	Sort  string
	N     int64
	Acked bool   // the store has said that it has the task
	Told  string // the state in which somebody was told that it has ended
	Left  bool   // nobody waits for it any more

	Newest  int64 // fence
	Began   map[int64]bool
	Applied map[int64]bool // of those that began: which did all that they had to do
}

const (
	openTasks  = "tasks:open"       // sorted set: id -> when it was registered
	registered = "tasks:registered" // how many there may be
	acked      = "tasks:acked"      // how many there are at least
)

func (g *guard) task(id string) string { return g.key("task", id) }

// register notes a task that is about to be submitted.
func (g *guard) register(ctx context.Context, id, sort string, n int64) error {
	_, err := insist(ctx, func() (int, error) {
		b := g.client.B()
		for _, reply := range g.client.DoMulti(ctx,
			b.Hset().Key(g.task(id)).FieldValue().FieldValue("sort", sort).FieldValue("n", number(n)).Build(),
			b.Pexpire().Key(g.task(id)).Milliseconds(guardTTL.Milliseconds()).Build(),
			b.Zadd().Key(g.prefix+openTasks).ScoreMember().ScoreMember(float64(time.Now().UnixMilli()), id).Build(),
			b.Pexpire().Key(g.prefix+openTasks).Milliseconds(guardTTL.Milliseconds()).Build(),
			b.Incr().Key(g.prefix+registered).Build(), // again if an answer is lost: there may be so many
			b.Pexpire().Key(g.prefix+registered).Milliseconds(guardTTL.Milliseconds()).Build(),
		) {
			if err := reply.Error(); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	return err
}

// ack notes that the store has a task.
func (g *guard) ack(ctx context.Context, id string) error {
	if err := g.note(ctx, id, "acked", "1"); err != nil {
		return err
	}
	b := g.client.B() // not again if an answer is lost: there are so many at least
	g.client.DoMulti(ctx, b.Incr().Key(g.prefix+acked).Build(),
		b.Pexpire().Key(g.prefix+acked).Milliseconds(guardTTL.Milliseconds()).Build())
	return nil
}

// note adds to the entry of a task.
func (g *guard) note(ctx context.Context, id, field, value string) error {
	_, err := insist(ctx, func() (int64, error) {
		return g.client.Do(ctx, g.client.B().Hset().Key(g.task(id)).FieldValue().FieldValue(field, value).Build()).AsInt64()
	})
	return err
}

// attemptScript notes that an attempt begins, or has done what it had to, unless there has been a newer one.
var attemptScript = rueidis.NewLuaScript(`
if redis.call('HEXISTS', KEYS[1], 'sort') == 0 then return {-1, 0} end
local newest = tonumber(redis.call('HGET', KEYS[1], 'newest') or 0)
if tonumber(ARGV[1]) < newest then return {0, newest} end
redis.call('HSET', KEYS[1], 'newest', ARGV[1], ARGV[2] .. ARGV[1], '1')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, newest}`)

// What an attempt notes.
const (
	begins  = "began "
	applies = "applied "
)

func (g *guard) attempt(ctx context.Context, id, what string, fence int64) (verdict, newest int64, err error) {
	return g.ask(ctx, attemptScript, g.task(id), number(fence), what)
}

// entries gives a page of the tasks that are not struck out, the oldest first, and how many there are.
func (g *guard) entries(ctx context.Context, from, n int) (page []*entry, total int, err error) {
	b := g.client.B()
	open := g.prefix + openTasks
	count, err := g.client.Do(ctx, b.Zcard().Key(open).Build()).AsInt64()
	if err != nil || count == 0 {
		return nil, 0, err
	}
	first, last := strconv.Itoa(from), strconv.Itoa(from+n-1)
	ids, err := g.client.Do(ctx, b.Zrange().Key(open).Min(first).Max(last).Withscores().Build()).AsZScores()
	if err != nil {
		return nil, 0, err
	}
	for _, z := range ids {
		page = append(page, &entry{ID: z.Member, Born: time.UnixMilli(int64(z.Score))})
	}
	return page, int(count), g.read(ctx, page)
}

// read reads entries anew.
func (g *guard) read(ctx context.Context, list []*entry) error {
	if len(list) == 0 {
		return nil
	}
	var reads rueidis.Commands
	for _, e := range list {
		reads = append(reads, g.client.B().Hgetall().Key(g.task(e.ID)).Build())
	}
	for i, reply := range g.client.DoMulti(ctx, reads...) {
		fields, err := reply.AsStrMap()
		if err != nil {
			return err
		}
		list[i].read(fields)
	}
	return nil
}

func (e *entry) read(fields map[string]string) {
	e.Began, e.Applied = make(map[int64]bool), make(map[int64]bool)
	e.Sort, e.Told, e.Acked, e.Left = fields["sort"], fields["told"], fields["acked"] != "", e.Left || fields["left"] != ""
	e.N, _ = strconv.ParseInt(fields["n"], 10, 64)
	e.Newest, _ = strconv.ParseInt(fields["newest"], 10, 64)
	for field := range fields {
		if text, ok := strings.CutPrefix(field, begins); ok {
			fence, _ := strconv.ParseInt(text, 10, 64)
			e.Began[fence] = true
		}
		if text, ok := strings.CutPrefix(field, applies); ok {
			fence, _ := strconv.ParseInt(text, 10, 64)
			e.Applied[fence] = true
		}
	}
}

// strike takes tasks out of the ledger.
func (g *guard) strike(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := insist(ctx, func() (int, error) {
		b := g.client.B()
		commands := rueidis.Commands{b.Zrem().Key(g.prefix + openTasks).Member(ids...).Build()}
		for _, id := range ids {
			commands = append(commands, b.Del().Key(g.task(id)).Build())
		}
		for _, reply := range g.client.DoMulti(ctx, commands...) {
			if err := reply.Error(); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	return err
}

// counter reads one of the counters, or how many tasks are not struck out.
func (g *guard) counter(ctx context.Context, name string) (int64, error) {
	if name == openTasks {
		return g.client.Do(ctx, g.client.B().Zcard().Key(g.prefix+openTasks).Build()).AsInt64()
	}
	n, err := g.client.Do(ctx, g.client.B().Get().Key(g.prefix+name).Build()).AsInt64()
	if rueidis.IsRedisNil(err) {
		return 0, nil
	}
	return n, err
}

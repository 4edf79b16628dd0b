package rueidis

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/luascript"
)

// The scripts on pools and lines.
var (
	exchangeScript = rueidis.NewLuaScript(luascript.Exchange)
	extendScript   = rueidis.NewLuaScript(luascript.Extend)
	shrinkScript   = rueidis.NewLuaScript(luascript.Shrink)
	assignScript   = rueidis.NewLuaScript(luascript.Assign)
	releaseScript  = rueidis.NewLuaScript(luascript.Release)
	collectScript  = rueidis.NewLuaScript(luascript.Collect)
	watchScript    = rueidis.NewLuaScript(luascript.Watch)
	leaveScript    = rueidis.NewLuaScript(luascript.Leave)
	reclaimScript  = rueidis.NewLuaScript(luascript.Reclaim)
)

// The scripts on values and sets, and those that only look.
var (
	getScript     = rueidis.NewLuaScript(luascript.Get)
	setScript     = rueidis.NewLuaScript(luascript.Set)
	deleteScript  = rueidis.NewLuaScript(luascript.Delete)
	scanScript    = rueidis.NewLuaScript(luascript.Scan)
	replaceScript = rueidis.NewLuaScript(luascript.Replace)
	membersScript = rueidis.NewLuaScript(luascript.Members)
	inspectScript = rueidis.NewLuaScript(luascript.Inspect)
	queueScript   = rueidis.NewLuaScript(luascript.Queue)
)

// run calls a script on pools and lines with the keys and prefixes of the namespace and the script's own arguments
// args. The error is complete (mapped and wrapped). ctx is the caller's; the call is bounded besides.
func (sp *space) run(ctx context.Context, op string, script *rueidis.Lua, args ...string) (rueidis.RedisMessage, error) {
	argv := make([]string, 0, len(sp.head)+len(args))
	argv = append(append(argv, sp.head...), args...)
	return sp.b.exec(ctx, op, sp.ns, script, sp.keys, argv)
}

// call calls a script with the keys of the namespace, on the calling goroutine. The error is as the client gave it.
func (sp *space) call(ctx context.Context, script *rueidis.Lua, argv []string) (rueidis.RedisMessage, error) {
	return sp.callOn(ctx, nil, script, sp.keys, argv)
}

// callOn is call on a wire; nil is the connection that all share.
func (sp *space) callOn(
	ctx context.Context, w *wire, script *rueidis.Lua, keys, argv []string,
) (rueidis.RedisMessage, error) {
	client := sp.b.client
	if w != nil {
		client = w.client
	}
	reply, err := script.Exec(ctx, client, keys, argv).ToMessage()
	sp.b.waits.tracker.changed(script)
	sp.heardOn(w, err)
	return reply, err
}

// heardOn notes how a call ended, unless it was cut off by its caller.
func (sp *space) heardOn(w *wire, err error) {
	if err == nil || w == nil || !w.isCut() {
		sp.b.reach(err)
	}
}

// exec calls a script. The error is complete.
func (b *Backend) exec(
	ctx context.Context, op string, ns backend.Namespace, script *rueidis.Lua, keys, argv []string,
) (rueidis.RedisMessage, error) {
	reply, err := await(ctx, b, func(ctx context.Context) (rueidis.RedisMessage, error) {
		reply, err := script.Exec(ctx, b.client, keys, argv).ToMessage()
		b.waits.tracker.changed(script)
		b.reach(err)
		return reply, err
	})
	return reply, b.fail(ctx, op, ns, err)
}

// await calls the server, bounded by the call timeout, and gives what it answers, unless ctx ends before: then it
// leaves at once and the call goes on without it. It fails with ErrClosed after Close.
func await[T any](ctx context.Context, b *Backend, call func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if !b.begin() {
		return none, backend.ErrClosed
	}
	if ctx.Done() == nil {
		defer b.end()
		return call(b.bounded())
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer b.end()
		value, err := call(b.bounded())
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// A bound is the context of the calls of a short time, so that not each of them has to make one.
type bound struct {
	ctx    context.Context
	cancel context.CancelFunc
	until  time.Time // of its use
}

// bounded gives a context that ends after the call timeout, or up to an eighth of it later.
func (b *Backend) bounded() context.Context {
	now := time.Now()
	current := b.bound.Load()
	if current != nil && now.Before(current.until) {
		return current.ctx
	}
	window := b.opts.callTimeout / 8
	next := &bound{until: now.Add(window)}
	next.ctx, next.cancel = context.WithTimeout(context.Background(), b.opts.callTimeout+window)
	if !b.bound.CompareAndSwap(current, next) {
		next.cancel()
		return b.bounded()
	}
	return next.ctx
}

// arguments are ARGV in the making, in room that is used again.
type arguments struct {
	argv  []string
	plain bool // see exchange.lua

	lastTTL time.Duration // and its text: neighbours mostly have the same
	lastMS  string

	members map[string]struct{} // see distinct
	bytes   []byte
}

var argumentLists = sync.Pool{New: func() any { return &arguments{members: make(map[string]struct{})} }}

func newArguments(sp *space) *arguments {
	a := argumentLists.Get().(*arguments)
	a.argv = append(a.argv, sp.head...)
	return a
}

func (a *arguments) drop() {
	a.reset()
	argumentLists.Put(a)
}

func (a *arguments) reset() {
	clear(a.argv)
	a.argv = a.argv[:0]
}

func (a *arguments) text(s string) { a.argv = append(a.argv, s) }
func (a *arguments) int(n int)     { a.argv = append(a.argv, strconv.Itoa(n)) }

func (a *arguments) ttl(d time.Duration) {
	if d != a.lastTTL || a.lastMS == "" {
		a.lastTTL, a.lastMS = d, strconv.FormatInt(backend.Millis(d), 10)
	}
	a.text(a.lastMS)
}

// header says how many of each there are, and whether all is plain.
func (a *arguments) header(numbers ...int) {
	form := "mixed"
	if a.plain {
		form = "plain"
	}
	a.counts(form, numbers...)
}

// counts gives numbers, and a word, in one argument.
func (a *arguments) counts(form string, numbers ...int) {
	a.bytes = a.bytes[:0]
	for _, n := range numbers {
		a.bytes = append(strconv.AppendInt(a.bytes, int64(n), 10), ' ')
	}
	a.bytes = append(a.bytes, form...)
	a.text(string(a.bytes))
}

// distinct reports whether no member is returned or renewed twice.
func (a *arguments) distinct(batch []*part) bool {
	clear(a.members)
	for _, p := range batch {
		for i := range p.returns {
			a.members[p.returns[i].Member] = struct{}{}
		}
		for i := range p.renewals {
			a.members[p.renewals[i].Member] = struct{}{}
		}
	}
	n := 0
	for _, p := range batch {
		n += len(p.returns) + len(p.renewals)
	}
	return len(a.members) == n
}

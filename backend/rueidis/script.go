package rueidis

import (
	"context"
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
		return invocation{script, keys, argv}.carryOut(ctx, b)
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

package rueidis

import (
	"context"
	"crypto/sha1" //nolint:gosec // it is what EVALSHA knows a script by
	"encoding/hex"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/luascript"
)

// durably carries out p on names, apart from others, and has the server wait for replicas: WAIT goes with the step on a
// connection that nobody else uses meanwhile. If too few have it, what was granted is given back, as far as the server can
// be reached at once, and the error is a ReplicasError. What was renewed stays, and the bits tell about it.
func (sp *space) durably(ctx context.Context, d backend.Durability, p *part) ([]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var short error
	c := &combiner{sp: sp}
	c.send = func(_ *wire, batch []*part) error {
		got, err := sp.sendAndWait(batch, d)
		if err == nil && got < d.Replicas {
			short = &backend.ReplicasError{Want: d.Replicas, Got: got}
		}
		if op := p.lock; op != nil && len(op.grants) > 0 && (err != nil || short != nil) {
			sp.giveBack(p)
			op.grants = nil
		} else if op != nil && err == nil && len(op.grants) == 0 {
			short = nil // refused, whatever the replicas have
		}
		return err
	}
	p.state = partSent
	if !sp.b.start(func() { c.carryOut(nil, []*part{p}) }) {
		return nil, backend.ErrClosed
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if c.leave(p) {
			return nil, ctx.Err()
		}
		<-p.done
	}
	bits, err := p.bits, p.err
	p.drop()
	if err == nil {
		err = short
	}
	return bits, err
}

var lockExchangeSHA = func() string {
	sum := sha1.Sum([]byte(luascript.LockExchange)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}()

// sendAndWait carries out a batch and gives the number of replicas that have it.
func (sp *space) sendAndWait(batch []*part, d backend.Durability) (replicas int, err error) {
	a := argumentLists.Get().(*arguments)
	defer a.drop()
	keys, form := sp.encodeLocks(a, batch)
	ctx, cancel := context.WithTimeout(context.Background(), sp.b.opts.callTimeout+d.Timeout)
	defer cancel()
	conn, release := sp.b.client.Dedicate()
	defer release()

	// A server that does not know the script would have WAIT wait all the same, so the first call brings it along.
	replies := replicatedCall(ctx, conn, d, keys, a.argv, sp.b.replicated.Load())
	if e, ok := rueidis.IsRedisErr(replies[0].Error()); ok && e.IsNoScript() {
		replies = replicatedCall(ctx, conn, d, keys, a.argv, false)
	}
	reply, err := replies[0].ToMessage()
	sp.b.waits.tracker.changed(lockExchangeScript)
	sp.b.reach(err)
	if err != nil {
		if !isReply(err) {
			conn.Close()
		}
		return 0, err
	}
	sp.b.replicated.Store(true)
	if err := decodeLocks(batch, &reply, form); err != nil {
		return 0, err
	}
	got, err := replies[1].AsInt64()
	return int(got), err
}

// replicatedCall calls lockexchange.lua, which the server may know already, and has it wait for replicas.
func replicatedCall(
	ctx context.Context, conn rueidis.DedicatedClient, d backend.Durability, keys, argv []string, known bool,
) []rueidis.RedisResult {
	n := int64(len(keys))
	var call rueidis.Completed
	if known {
		call = conn.B().Evalsha().Sha1(lockExchangeSHA).Numkeys(n).Key(keys...).Arg(argv...).Build()
	} else {
		call = conn.B().Eval().Script(luascript.LockExchange).Numkeys(n).Key(keys...).Arg(argv...).Build()
	}
	return conn.DoMulti(ctx, call,
		conn.B().Wait().Numreplicas(int64(d.Replicas)).Timeout(backend.Millis(d.Timeout)).Build())
}

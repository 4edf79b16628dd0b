package rueidis

import (
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// While a slot of a Cluster moves from one node to another, some of its keys are here and some are there. Whoever looked
// at one half would take for free what is locked in the other. The nodes let a call in only if all its KEYS are in one
// place, but most scripts find their keys as they go. So on a Cluster each of these names one more, which nobody ever
// writes: it is nowhere, and the answer is TRYAGAIN until the slot has moved as a whole. Nothing has happened then, and the
// call is made again.

// nowhere gives the key that is missing, on a Cluster.
func nowhere(b *Backend, ns backend.Namespace) []string {
	if !b.cluster {
		return nil
	}
	return []string{ns.Base() + "|nowhere"}
}

// with gives a list with one more at its end.
func with(keys []string, more ...string) []string {
	return append(keys[:len(keys):len(keys)], more...)
}

// onceMoved makes a call, and makes it again as long as its slot is moving, but for no longer than a call may take, nor
// beyond Close.
func (b *Backend) onceMoved(call func() error) error {
	err := call()
	if !moving(err) {
		return err
	}
	pause := newBackoff(5*time.Millisecond, 100*time.Millisecond)
	for end := time.Now().Add(b.opts.callTimeout); moving(err); err = call() {
		d := pause.next()
		if time.Now().Add(d).After(end) || b.ctx.Err() != nil {
			break
		}
		pauseFor(b.ctx, d)
	}
	return err
}

// moving reports whether a node answers that another one will have the key, or has it already: the client follows such an
// answer, except on a connection that is its caller's.
func moving(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, moved := reply.IsMoved()
	_, asks := reply.IsAsk()
	return reply.IsTryAgain() || moved || asks
}

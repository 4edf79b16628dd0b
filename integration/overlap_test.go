package integration

import (
	"context"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

// TestHolderBehindABlackHoleEndsFirst cuts holders off, without a word, right after their acquisition or a renewal. The
// lease of each has ended before the server gives its member to another.
func TestHolderBehindABlackHoleEndsFirst(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second // with a margin of 40 ms
	d := darkness{ttl: ttl, late: isLate, open: func(
		ctx context.Context, _ int, far, near *rueidis.Backend, ns backend.Namespace,
	) (*stake, error) {
		ours, err := pool.New(far, pool.Config[pool.None]{Namespace: ns, TTL: ttl})
		if err != nil {
			return nil, err
		}
		theirs, err := pool.New(near, pool.Config[pool.None]{Namespace: ns, TTL: time.Minute, ClaimTTL: time.Minute})
		if err != nil {
			return nil, err
		}
		return &stake{
			take:     func(ctx context.Context) (holder, error) { return ours.MallocKey(ctx) },
			next:     func(ctx context.Context) (holder, error) { return theirs.AcquireKey(ctx) },
			giveBack: func(ctx context.Context, h holder) error { return h.(*Lease).Release(ctx) },
			speak:    func(ctx context.Context) error { return ours.Extend(ctx, []string{"another"}) },
			owner: func(ctx context.Context) (string, error) {
				seen, err := near.Inspect(ctx, backend.InspectRequest{Namespace: ns, Only: []string{"m"}})
				if err != nil || len(seen.Members) != 1 {
					return "", err
				}
				return seen.Members[0].Owner, nil
			},
			close: func() { _, _ = ours.Close(), theirs.Close() },
		}, theirs.Extend(ctx, []string{"m"})
	}}
	d.check(t)
}

type stopArgs struct {
	URL       string
	Namespace backend.Namespace
	Spin      bool
}

type stopReport struct {
	Fence       int64
	Valid, Over bool
	Cause       string
	Release     string
	LastValid   time.Time // when the last look began that found the lease valid
}

// TestStoppedProcessKnowsAtItsFirstLook stops processes with leases in their hands. When they go on somebody else has
// the member, and they know, however they look.
func TestStoppedProcessKnowsAtItsFirstLook(t *testing.T) {
	t.Parallel()
	url, ctx := redistest.URL(t), context.Background()
	be := open(t, url)
	for i := range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t)
			keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns, TTL: time.Minute})
			require.NoError(t, keys.Extend(ctx, members(1)))
			p := start(t, "stop", stopArgs{url, ns, i%2 == 0})
			var held, looked stopReport
			p.hear(&held)
			pause(ctx, time.Duration(rand.IntN(300))*time.Millisecond)
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
			next, err := keys.AcquireKey(ctx)
			require.NoError(t, err)
			p.say("look")
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
			p.hear(&looked)
			assert.False(t, looked.Valid)
			assert.True(t, looked.Over)
			assert.Contains(t, []string{pool.ErrExpired.Error(), pool.ErrLost.Error()}, looked.Cause)
			assert.Contains(t, looked.Release, pool.ErrNotHeld.Error())
			assert.Less(t, held.Fence, next.Fence())
			assert.False(t, looked.LastValid.After(grantedAt(next.Fence())),
				"%v valid, %v granted", looked.LastValid, grantedAt(next.Fence()))
			assert.True(t, next.Valid())
			assert.NoError(t, next.Release(ctx))
		})
	}
}

// stopWorker holds a lease and looks at it: all the time, or when it is told to.
func stopWorker(w *worker) error {
	var args stopArgs
	if err := w.read(&args); err != nil {
		return err
	}
	ctx := context.Background()
	be, err := connect(args.URL)
	if err != nil {
		return err
	}
	keys, err := pool.New(be, pool.Config[pool.None]{Namespace: args.Namespace, TTL: 500 * time.Millisecond})
	if err != nil {
		return err
	}
	l, err := keys.MallocKey(ctx)
	for isLate(err) { // on a busy machine
		l, err = keys.MallocKey(ctx)
	}
	if err != nil {
		return err
	}
	w.tell(stopReport{Fence: l.Fence()})
	var report stopReport
	if args.Spin {
		for at := time.Now(); l.Valid(); at = time.Now() {
			report.LastValid = at
		}
		<-w.in
	} else {
		<-w.in
		report.Valid = l.Valid()
	}
	report.Over = l.Context().Err() != nil
	report.Cause = context.Cause(l.Context()).Error()
	if err := l.Release(ctx); err != nil {
		report.Release = err.Error()
	}
	w.tell(report)
	<-w.in
	return nil
}

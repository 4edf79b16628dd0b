package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

const (
	// atOnce is far less than leaseTTL, and generous to a busy machine. The library asks for what was lost as soon as it
	// can, and once more a second later.
	atOnce = 20 * time.Second
	// leaseTTL is that of what these tests lose.
	leaseTTL = 2 * time.Minute
)

// stage is a pool as seen by one who is behind a proxy, and by others.
type stage struct {
	t       *testing.T
	ns      backend.Namespace
	proxy   *redistest.Proxy
	be      *rueidis.Backend // behind the proxy
	keys    *Keys
	outside *rueidis.Backend
	others  *Keys
}

// newStage fills a pool with n members and uses it once, so that whatever is done only once is done.
func newStage(t *testing.T, n int) *stage {
	t.Helper()
	url := redistest.URL(t)
	s := &stage{t: t, ns: newNamespace(t), proxy: redistest.NewProxy(t, address(url)), outside: open(t, url)}
	s.be = open(t, s.proxy.URL())
	cfg := pool.Config[pool.None]{Namespace: s.ns, TTL: leaseTTL}
	s.keys, s.others = newPool(t, joining{s.be}, cfg), newPool(t, s.outside, cfg)
	ctx := context.Background()
	require.NoError(t, s.keys.Extend(ctx, members(n)))
	for range 2 {
		l, err := s.keys.AcquireKey(ctx)
		require.NoError(t, err)
		require.NoError(t, l.Release(ctx))
	}
	for range 20 { // the client opens some connections, when it comes to use them
		_, err := s.keys.Waiting(ctx)
		require.NoError(t, err)
	}
	return s
}

// idle waits until nothing is left behind, and tells how long that took.
func (s *stage) idle() time.Duration {
	s.t.Helper()
	took := expectIdle(s.t, s.outside, s.ns, atOnce)
	s.t.Logf("nothing left after %v", took.Round(100*time.Microsecond))
	return took
}

// holdAll takes all members from outside.
func (s *stage) holdAll(n int) []*Lease {
	s.t.Helper()
	leases, err := s.others.MallocN(context.Background(), n)
	require.NoError(s.t, err)
	return leases
}

func (s *stage) release(leases []*Lease) {
	s.t.Helper()
	for _, l := range leases {
		require.NoError(s.t, l.Release(context.Background()))
	}
}

// waiting waits until n wait in line.
func (s *stage) waiting(n int) {
	s.t.Helper()
	eventually(s.t, patience, "a place in line", func() bool {
		length, err := s.others.Waiting(context.Background())
		require.NoError(s.t, err)
		return length == n
	})
}

// waitFor waits for a member, and returns when that is known at both ends.
func (s *stage) waitFor(ctx context.Context, options ...pool.Option) <-chan outcome[[]*Lease] {
	s.t.Helper()
	var joined atomic.Bool
	ctx = context.WithValue(ctx, joinedKey{}, &joined)
	done := begin(func() ([]*Lease, error) { return one(s.keys.AcquireKey(ctx, options...)) })
	eventually(s.t, patience, "it knows that it waits", joined.Load)
	s.waiting(1)
	return done
}

// scripts matches a call of a script that has all these words among its arguments.
func scripts(words ...string) redistest.Match {
	return func(request []string) bool {
		if len(request) == 0 || !strings.HasPrefix(strings.ToUpper(request[0]), "EVAL") {
			return false
		}
		for _, word := range words {
			if !slices.Contains(request, word) {
				return false
			}
		}
		return true
	}
}

// cuts are the two ways to lose a call.
var cuts = []struct {
	name string
	cut  func(*redistest.Proxy, redistest.Match) <-chan struct{}
}{
	{"request lost", (*redistest.Proxy).CutRequest},
	{"reply lost", (*redistest.Proxy).CutReply},
}

func expectFired(t *testing.T, fired <-chan struct{}) {
	t.Helper()
	select {
	case <-fired:
	case <-time.After(patience):
		require.FailNow(t, "the connection was never cut")
	}
}

// allocations are the ways to allocate.
var allocations = []struct {
	name string
	do   func(context.Context, *Keys, ...pool.Option) ([]*Lease, error)
}{
	{"Malloc", func(ctx context.Context, keys *Keys, options ...pool.Option) ([]*Lease, error) {
		return one(keys.MallocKey(ctx, options...))
	}},
	{"MallocN", func(ctx context.Context, keys *Keys, options ...pool.Option) ([]*Lease, error) {
		return keys.MallocN(ctx, 3, options...)
	}},
	{"Acquire", func(ctx context.Context, keys *Keys, options ...pool.Option) ([]*Lease, error) {
		return one(keys.AcquireKey(ctx, options...))
	}},
	{"AcquireN", func(ctx context.Context, keys *Keys, options ...pool.Option) ([]*Lease, error) {
		return keys.AcquireN(ctx, 3, options...)
	}},
}

func one(l *Lease, err error) ([]*Lease, error) {
	if err != nil {
		return nil, err
	}
	return []*Lease{l}, nil
}

// TestLostAllocation loses the call that takes members.
func TestLostAllocation(t *testing.T) {
	t.Parallel()
	for _, allocation := range allocations {
		for _, c := range cuts {
			t.Run(allocation.name+" "+c.name, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, 4)
				fired := c.cut(s.proxy, scripts("lost"))
				leases, err := allocation.do(context.Background(), s.keys, pool.Token("lost"))
				expectFired(t, fired)
				require.ErrorIs(t, err, backend.ErrUnavailable)
				assert.Empty(t, leases)
				s.idle()
			})
		}
	}
}

// TestLostPlaceInLine loses the call that joins the line.
func TestLostPlaceInLine(t *testing.T) {
	t.Parallel()
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, 1)
			held := s.holdAll(1)
			fired := c.cut(s.proxy, scripts("lost"))
			_, err := s.keys.AcquireKey(context.Background(), pool.Token("lost"))
			expectFired(t, fired)
			require.ErrorIs(t, err, backend.ErrUnavailable)
			s.waiting(0)
			s.release(held)
			s.idle()
		})
	}
}

// TestLostConfirmation loses the call with which a waiter takes up what it was handed: it is made again.
func TestLostConfirmation(t *testing.T) {
	t.Parallel()
	for _, c := range cuts {
		for _, cancelled := range []bool{false, true} {
			name := c.name
			if cancelled {
				name += " and cancelled"
			}
			t.Run(name, func(t *testing.T) {
				s := newStage(t, 1)
				held := s.holdAll(1)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				done := s.waitFor(ctx, pool.Token("lost"))
				fired := c.cut(s.proxy, scripts("lost", held[0].Key()))
				s.release(held)
				expectFired(t, fired)
				if cancelled {
					cancel()
				}
				got := await(t, done)
				if got.err != nil && cancelled {
					require.ErrorIs(t, got.err, context.Canceled)
				} else { // it may have been confirmed again before that
					require.NoError(t, got.err)
					assert.NotZero(t, got.got[0].Fence())
					_ = got.got[0].Release(ctx)
				}
				s.idle()
			})
		}
	}
}

// TestLostRelease loses the call that gives a member back.
func TestLostRelease(t *testing.T) {
	t.Parallel()
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, 1)
			ctx := context.Background()
			l, err := s.keys.MallocKey(ctx, pool.Token("lost"))
			require.NoError(t, err)
			fired := c.cut(s.proxy, scripts("lost", l.Key()))
			err = l.Release(ctx)
			expectFired(t, fired)
			require.ErrorIs(t, err, backend.ErrUnavailable)
			assert.False(t, l.Valid())
			s.idle()
		})
	}
}

// TestLostGoodbye loses the call that leaves the line.
func TestLostGoodbye(t *testing.T) {
	t.Parallel()
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, 1)
			held := s.holdAll(1)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := s.waitFor(ctx, pool.Token("lost"))
			fired := make(chan struct{})
			match := scripts("lost")
			// The process also says that it still waits, with the token: that is not what is to be lost.
			cut := c.cut(s.proxy, func(request []string) bool { return ctx.Err() != nil && match(request) })
			cancel()
			go func() {
				<-cut
				close(fired)
			}()
			got := await(t, done)
			require.ErrorIs(t, got.err, context.Canceled)
			expectFired(t, fired)
			s.waiting(0)
			s.release(held)
			s.idle()
		})
	}
}

// TestCancelledInTheDark cancels allocations.
func TestCancelledInTheDark(t *testing.T) {
	t.Parallel()
	for _, allocation := range allocations {
		for _, d := range darks {
			t.Run(allocation.name+" "+d.name, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, 4)
				cancelInTheDark(t, s.proxy, d,
					func(ctx context.Context) ([]*Lease, error) { return allocation.do(ctx, s.keys) },
					func() bool { return len(leftovers(look(t, s.outside, s.ns))) > 0 }, s.idle)
			})
		}
	}
}

// TestCancelledWhileTheHandoverIsOnItsWay cancels a wait after the server has ended it and before that is known.
func TestCancelledWhileTheHandoverIsOnItsWay(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		name := "late"
		if lost {
			name = "lost"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // giving up takes some seconds in the dark
			s := newStage(t, 1)
			held := s.holdAll(1)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := s.waitFor(ctx)
			if lost {
				s.proxy.Drop(redistest.Both)
			} else {
				s.proxy.Hold(redistest.Replies)
			}
			s.release(held)
			assert.NotEmpty(t, leftovers(look(t, s.outside, s.ns)), "it was handed over")
			cancel()
			got := await(t, done)
			require.ErrorIs(t, got.err, context.Canceled)
			s.proxy.Resume()
			s.idle()
		})
	}
}

// TestHandoverThatIsLostReachesItsWaiter loses the message that a wait has ended.
func TestHandoverThatIsLostReachesItsWaiter(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	held := s.holdAll(1)
	ctx := context.Background()
	done := s.waitFor(ctx)
	s.proxy.Drop(redistest.Replies)
	s.release(held)
	s.proxy.Resume()
	began := time.Now()
	got := await(t, done)
	require.NoError(t, got.err)
	t.Logf("got it %v after the connection was back", time.Since(began).Round(100*time.Microsecond))
	assert.Less(t, time.Since(began), atOnce)
	s.release(got.got)
	s.idle()
}

// TestCancelledAtAnyMoment cancels allocations after random times on a connection that is held up and cut at random,
// among others who use the same pool.
func TestCancelledAtAnyMoment(t *testing.T) {
	t.Parallel()
	s := newStage(t, 6)
	of := func(keys *Keys) user {
		return func(ctx context.Context) (func() error, error) {
			leases, err := allocations[rand.IntN(len(allocations))].do(ctx, keys, pool.Priority(rand.IntN(2)))
			return func() error {
				for _, l := range leases {
					if err := l.Release(context.Background()); err != nil && !errors.Is(err, backend.ErrUnavailable) {
						return err
					}
				}
				return nil
			}, err
		}
	}
	badWeather(t, s.proxy, 8*time.Millisecond, append(times(16, of(s.keys)), times(4, of(s.others))...)...)
	s.idle()
}

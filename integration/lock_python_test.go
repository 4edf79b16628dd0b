package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/lock"
)

// A pythonLock sends what RedisLock of the Python library does.
type pythonLock struct {
	cli *redisCLI
	ns  backend.Namespace
}

// lock is SET NX EX.
func (p *pythonLock) lock(name, value string, seconds int) (bool, error) {
	reply, err := p.cli.do("SET", p.ns.Lock(name), value, "NX", "EX", strconv.Itoa(seconds))
	return err == nil && !reply.IsNil(), err
}

// rlock is lock, or else a look whether the value is there already.
func (p *pythonLock) rlock(name, value string, seconds int) (bool, error) {
	if ok, err := p.lock(name, value, seconds); ok || err != nil {
		return ok, err
	}
	there, err := p.value(name)
	return there == value, err
}

func (p *pythonLock) update(name, value string, seconds int) error {
	_, err := p.cli.do("SET", p.ns.Lock(name), value, "EX", strconv.Itoa(seconds))
	return err
}

func (p *pythonLock) unlock(name string) (bool, error) {
	reply, err := p.cli.do("DEL", p.ns.Lock(name))
	if err != nil {
		return false, err
	}
	n, err := reply.AsInt64()
	return n == 1, err
}

// value gives "" if there is none.
func (p *pythonLock) value(name string) (string, error) {
	reply, err := p.cli.do("GET", p.ns.Lock(name))
	if err != nil || reply.IsNil() {
		return "", err
	}
	return reply.ToString()
}

// setgt sets a number if it is larger than the one there, or there is none.
func (p *pythonLock) setgt(name string, n int) error {
	const script = `
local there = redis.call('GET', KEYS[1])
if there and tonumber(ARGV[1]) <= tonumber(there) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', '100')
return 1`
	_, err := p.cli.do("EVAL", script, "1", p.ns.Lock(name), strconv.Itoa(n))
	return err
}

// stale is what stays behind, without counting for anything, until its holders' leases would have run out, when somebody
// deletes the lock of a name that is shared.
func stale(ns backend.Namespace, name string) []string {
	return []string{ns.LockHolders(name), ns.LockUnitsPrefix() + name}
}

// TestPythonAndMutexesExcludeEachOther has processes of the Python library, which poll, die and know nothing of lines,
// lock the same names as we do. At the door of each stands somebody who has to see that nobody comes in while another is
// there.
func TestPythonAndMutexesExcludeEachOther(t *testing.T) {
	t.Parallel()
	busily(t)
	url, ns := redistest.URL(t), newNamespace(t)
	clients := []*rueidis.Backend{open(t, url), open(t, url)}
	python := &pythonLock{raw(t, url), ns}
	door := &doorkeeper{raw(t, url), ns}
	ctx, stop := context.WithTimeout(context.Background(), scaled(t, 3*time.Second))
	defer stop()
	some := func() time.Duration { return time.Duration(rand.Int64N(int64(3 * time.Millisecond))) }
	visit := func(name, who string) {
		assert.NoError(t, door.enter(name, who))
		pause(context.Background(), some())
		assert.NoError(t, door.leave(name))
	}
	var ours, theirs, crashes, shared atomic.Int64
	var users sync.WaitGroup
	for i := range 12 {
		be := clients[i%len(clients)]
		users.Go(func() {
			for ctx.Err() == nil {
				name := fmt.Sprintf("n%d", rand.IntN(3))
				held, err := lock.NewMutex(be, ns, name, lock.Config{TTL: time.Minute}).Lock(context.Background())
				if !assert.NoError(t, err) {
					return
				}
				visit(name, held.Token())
				ours.Add(1)
				assert.NoError(t, held.Unlock(ctx))
			}
		})
	}
	for range 4 { // read together, and must not meet a writer of Python's
		users.Go(func() {
			for ctx.Err() == nil {
				name := fmt.Sprintf("n%d", rand.IntN(3))
				held, err := lock.NewRWMutex(clients[0], ns, name, lock.Config{TTL: time.Minute}).RLock(context.Background())
				if !assert.NoError(t, err) {
					return
				}
				reply, err := door.cli.do("GET", door.key(name))
				if assert.NoError(t, err) {
					assert.True(t, reply.IsNil(), "somebody is in while %s reads", name)
				}
				shared.Add(1)
				assert.NoError(t, held.Unlock(ctx))
			}
		})
	}
	for i := range 6 {
		users.Go(func() {
			for ctx.Err() == nil {
				name := fmt.Sprintf("n%d", rand.IntN(3))
				dies := rand.IntN(100) == 0
				seconds := 100
				if dies {
					seconds = 1
				}
				got, err := python.lock(name, "1", seconds)
				if !assert.NoError(t, err) {
					return
				}
				if !got {
					pause(ctx, some())
					continue
				}
				if dies {
					crashes.Add(1) // its lock runs out
					continue
				}
				visit(name, fmt.Sprintf("python %d", i))
				theirs.Add(1)
				ok, err := python.unlock(name)
				assert.NoError(t, err)
				assert.True(t, ok, "somebody took it away from Python")
			}
		})
	}
	users.Wait()
	eventually(t, patience, "nothing is held", func() bool { return len(lockLeftovers(t, python.cli, ns)) == 0 })
	assert.Positive(t, ours.Load())
	assert.Positive(t, theirs.Load())
	t.Logf("%d times ours, %d times shared, %d times Python's, which died %d times", ours.Load(), shared.Load(), theirs.Load(),
		crashes.Load())
}

// TestPythonsVerbs has Python and us use the same names, by each of its verbs.
func TestPythonsVerbs(t *testing.T) {
	t.Parallel()
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	be := open(t, url)
	python, keys := &pythonLock{raw(t, url), ns}, lock.NewKeys(be, ns)
	mutex := lock.NewMutex(be, ns, "n", lock.Config{TTL: renewedTTL})
	says := func(want bool) func(bool, error) {
		return func(got bool, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}

	// Python holds it.
	says(true)(python.lock("n", "1", 100))
	_, err := mutex.TryLock(ctx)
	require.ErrorIs(t, err, lock.ErrLocked)
	_, err = lock.NewRWMutex(be, ns, "n", lock.Config{}).TryRLock(ctx)
	require.ErrorIs(t, err, lock.ErrLocked)
	_, err = lock.NewSemaphore(be, ns, "n", 3, lock.Config{}).TryAcquire(ctx, 1)
	require.ErrorIs(t, err, lock.ErrLocked)
	_, err = lock.NewMulti(be, ns, []string{"m", "n"}, lock.Config{}).TryLock(ctx)
	require.ErrorIs(t, err, lock.ErrLocked)
	says(false)(keys.Lock(ctx, "n", "2", time.Minute))
	says(true)(keys.RLock(ctx, "n", "1", time.Minute))
	says(true)(python.rlock("n", "1", 100))
	says(false)(python.rlock("n", "2", 100))
	says(true)(keys.Unlock(ctx, "n"))
	says(false)(python.unlock("n"))

	// We hold it, alone or shared.
	held := holding(t, mutex)
	says(false)(python.lock("n", "1", 100))
	says(false)(python.rlock("n", "1", 100))
	require.NoError(t, held.Unlock(ctx))
	readers := lock.NewRWMutex(be, ns, "n", lock.Config{})
	reader, err := readers.RLock(ctx)
	require.NoError(t, err)
	says(false)(python.lock("n", "1", 100))
	says(false)(python.rlock("n", "1", 100))
	require.NoError(t, reader.Unlock(ctx))
	says(true)(python.rlock("n", "1", 100))
	says(true)(python.unlock("n"))

	// Python takes it away: the holder learns it from its renewal, and leaves Python's alone.
	for _, take := range []func(context.Context) (*lock.Held, error){
		func(ctx context.Context) (*lock.Held, error) { return mutex.Lock(ctx) },
		func(ctx context.Context) (*lock.Held, error) { return readers.RLock(ctx, lock.TTL(renewedTTL)) },
	} {
		held, err := take(ctx)
		require.NoError(t, err)
		require.NoError(t, python.update("n", "1", 100))
		select {
		case <-held.Context().Done():
		case <-time.After(patience):
			require.FailNow(t, "in good faith")
		}
		assert.ErrorIs(t, context.Cause(held.Context()), lock.ErrLost)
		assert.ErrorIs(t, held.Unlock(ctx), lock.ErrNotHeld)
		assert.Equal(t, "1", whoHolds(t, python.cli, ns, "n"))
		says(true)(python.unlock("n"))
	}

	// Who waits gets it when Python's runs out.
	says(true)(python.lock("n", "1", 1))
	began := time.Now()
	held, err = mutex.Lock(ctx)
	require.NoError(t, err)
	assert.Less(t, time.Since(began), time.Second+busy)
	require.NoError(t, held.Unlock(ctx))
	expectFree(t, python.cli, ns, patience, stale(ns, "n")...)

	// Both set the same number, if theirs is larger: the largest stays.
	var users sync.WaitGroup
	var largest atomic.Int64
	for i := range 8 {
		users.Go(func() {
			for range 50 {
				n := rand.IntN(1 << 30)
				for old := largest.Load(); int64(n) > old && !largest.CompareAndSwap(old, int64(n)); old = largest.Load() {
				}
				var err error
				if i%2 == 0 {
					err = python.setgt("max", n)
				} else {
					_, err = keys.SetIf(ctx, "max", lock.GT, float64(n), "", time.Minute)
				}
				assert.NoError(t, err)
			}
		})
	}
	users.Wait()
	assert.Equal(t, strconv.FormatInt(largest.Load(), 10), whoHolds(t, python.cli, ns, "max"))
	says(false)(keys.DeleteIf(ctx, "max", lock.LT, float64(largest.Load())))
	says(true)(keys.DeleteIf(ctx, "max", lock.LE, float64(largest.Load())))
}

// TestDeletedLockIsNoticed deletes locks as an administrator with redis-cli would, at any moment, while others wait for
// them in line: the first of them has the lock a quarter of a second later, and a shared one is free of all its holders.
func TestDeletedLockIsNoticed(t *testing.T) {
	t.Parallel()
	url, ctx := redistest.URL(t), context.Background()
	cfg := lock.Config{TTL: time.Hour, NoRenewal: true}
	for _, way := range []struct {
		name    string
		options []rueidis.Option
		hold    func(lock.Backend, backend.Namespace) (*lock.Held, error)
	}{
		{"alone", nil, func(be lock.Backend, ns backend.Namespace) (*lock.Held, error) {
			return lock.NewMutex(be, ns, "n", cfg).TryLock(ctx)
		}},
		{"alone, with a cache", []rueidis.Option{rueidis.Tracking()}, func(be lock.Backend, ns backend.Namespace) (*lock.Held, error) {
			return lock.NewMutex(be, ns, "n", cfg).TryLock(ctx)
		}},
		{"read", nil, func(be lock.Backend, ns backend.Namespace) (*lock.Held, error) {
			return lock.NewRWMutex(be, ns, "n", cfg).TryRLock(ctx)
		}},
		{"units", nil, func(be lock.Backend, ns backend.Namespace) (*lock.Held, error) {
			return lock.NewSemaphore(be, ns, "n", 3, cfg).TryAcquire(ctx, 2)
		}},
		{"Python's", nil, func(_ lock.Backend, ns backend.Namespace) (*lock.Held, error) {
			_, err := (&pythonLock{raw(t, url), ns}).lock("n", "1", 3600)
			return nil, err
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			ns, cli := newNamespace(t), raw(t, url)
			be := open(t, url, way.options...)
			other := open(t, url)
			var took, beyond []time.Duration
			for range 8 {
				held, err := way.hold(other, ns)
				require.NoError(t, err)
				type got struct {
					waiter int
					held   *lock.Held
					err    error
				}
				const waiters = 2
				order := make(chan got, waiters)
				for i := range waiters {
					go func() {
						h, err := lock.NewMutex(be, ns, "n", cfg).Lock(ctx)
						order <- got{i, h, err}
					}()
					expectInLine(t, other, ns, "n", i+1)
				}
				pause(ctx, time.Duration(rand.IntN(250))*time.Millisecond)
				assert.Empty(t, order)
				cli.must(t, "DEL", ns.Lock("n"))
				began := time.Now()
				late := lateness(cli, began.Add(glance))
				for i := range waiters {
					next := <-order
					if i == 0 {
						took = append(took, time.Since(began))
						beyond = append(beyond, excess(took[len(took)-1], late))
					}
					require.NoError(t, next.err)
					assert.Equal(t, i, next.waiter)
					require.NoError(t, next.held.Unlock(ctx))
				}
				if held != nil {
					require.ErrorIs(t, held.Unlock(ctx), lock.ErrNotHeld)
				}
			}
			expectFree(t, cli, ns, patience, append(stale(ns, "n"), ns.LockLimits())...)
			assert.LessOrEqual(t, quantile(beyond, 0.5), glance+50*time.Millisecond)
			t.Logf("noticed after %v (median), %v at most", quantile(took, 0.5), quantile(took, 1))
		})
	}
}

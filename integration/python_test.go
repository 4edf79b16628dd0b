package integration

import (
	"context"
	"errors"
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
	"github.com/redisallocator/redisallocator/integration/internal/python"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// A stranger works on a pool as processes of the Python library do: it knows the free list, the locks and the bindings,
// writes "1" into its locks, and has never heard of tokens, deadlines or lines.
type stranger struct {
	cli *redisCLI
	ns  backend.Namespace
}

func (s *stranger) eval(script string, args ...string) (string, error) {
	words := append([]string{"EVAL", script, "3", s.ns.Pool(), s.ns.PoolHead(), s.ns.PoolTail(), s.ns.LockPrefix()}, args...)
	reply, err := s.cli.do(words...)
	if err != nil || reply.IsNil() {
		return "", err
	}
	if n, err := reply.AsInt64(); err == nil {
		return strconv.FormatInt(n, 10), nil
	}
	return reply.ToString()
}

// malloc gives "" if no member is free.
func (s *stranger) malloc(ttl time.Duration) (string, error) {
	return s.eval(python.Malloc, strconv.FormatInt(ttl.Milliseconds(), 10))
}

func (s *stranger) free(member string) error {
	_, err := s.eval(python.Free, member)
	return err
}

func (s *stranger) collect() (int, error) {
	n, err := s.eval(python.Collect)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(n)
}

// A doorkeeper knows who is in, if those who come in say so. Two at once are an error.
type doorkeeper struct {
	cli *redisCLI
	ns  backend.Namespace
}

func (d *doorkeeper) key(member string) string { return d.ns.Prefix + "-guard:" + member }

func (d *doorkeeper) enter(member, who string) error {
	reply, err := d.cli.do("SET", d.key(member), who, "NX")
	if err != nil {
		return err
	}
	if reply.IsNil() {
		reply, _ := d.cli.do("GET", d.key(member))
		other, _ := reply.ToString()
		return fmt.Errorf("%s: %s comes in while %s is there", member, who, other)
	}
	return nil
}

func (d *doorkeeper) leave(member string) error {
	_, err := d.cli.do("DEL", d.key(member))
	return err
}

type mixedReport struct {
	Ours, Theirs, Crashes, Collected, Refused int
	Problem                                   string
}

type mixedArgs struct {
	URL       string
	Namespace backend.Namespace
	TTL       time.Duration
	Stranger  bool
	Garbage   bool // keys may be of the wrong type
}

// mixedWorker uses a pool as we do, or as a stranger.
func mixedWorker(w *worker) error {
	var args mixedArgs
	if err := w.read(&args); err != nil {
		return err
	}
	cli, err := dialRaw(args.URL)
	if err != nil {
		return err
	}
	door := &doorkeeper{cli, args.Namespace}
	var step func() mixedReport
	if args.Stranger {
		s := &stranger{cli, args.Namespace}
		step = func() mixedReport { return s.step(door) }
	} else {
		be, err := connect(args.URL)
		if err != nil {
			return err
		}
		keys, err := pool.New(be, pool.Config[pool.None]{Namespace: args.Namespace, TTL: args.TTL, ClaimTTL: args.TTL / 4})
		if err != nil {
			return err
		}
		step = func() mixedReport {
			did, err := mixedStep(keys, door)
			switch {
			case err == nil, args.Garbage && (errors.Is(err, backend.ErrWrongType) || isLate(err)):
			default:
				did.Problem = err.Error()
			}
			return did
		}
	}
	var stopped atomic.Bool
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			var sum mixedReport
			for !stopped.Load() && sum.Problem == "" {
				did := step()
				sum.Refused += did.Refused
				sum.Ours += did.Ours
				sum.Theirs += did.Theirs
				sum.Crashes += did.Crashes
				sum.Collected += did.Collected
				sum.Problem = did.Problem
			}
			w.tell(sum)
		})
	}
	<-w.in
	stopped.Store(true)
	users.Wait()
	<-w.in
	return nil
}

func briefly() time.Duration { return time.Duration(rand.IntN(5000)) * time.Microsecond }

func (s *stranger) step(door *doorkeeper) (did mixedReport) {
	ctx := context.Background()
	fail := func(err error) mixedReport { return mixedReport{Problem: err.Error()} }
	if rand.IntN(10) == 0 {
		n, err := s.collect()
		if err != nil {
			return fail(err)
		}
		did.Collected = n
	}
	crashes := rand.IntN(20) == 0
	ttl := time.Minute
	if crashes {
		ttl = 100 * time.Millisecond
	}
	member, err := s.malloc(ttl)
	switch {
	case err != nil:
		return fail(err)
	case member == "":
		pause(ctx, briefly())
		return did
	case crashes:
		did.Crashes++
		return did
	}
	if err := door.enter(member, "a stranger"); err != nil {
		return fail(err)
	}
	pause(ctx, briefly())
	if err := errors.Join(door.leave(member), s.free(member)); err != nil {
		return fail(err)
	}
	did.Theirs++
	return did
}

func mixedStep(keys *Keys, door *doorkeeper) (did mixedReport, err error) {
	ctx := context.Background()
	options := []pool.Option{pool.MaxWait(200 * time.Millisecond)}
	crashes := rand.IntN(20) == 0
	if crashes {
		options = append(options, pool.TTL(100*time.Millisecond), pool.NoRenewal())
	}
	allocate := keys.MallocKey
	if rand.IntN(2) == 0 {
		allocate = keys.AcquireKey
	}
	l, err := allocate(ctx, options...)
	if err != nil {
		if isRefusal(err) || errors.Is(err, pool.ErrExpired) { // too late for 100 ms
			pause(ctx, briefly())
			return did, nil
		}
		did.Refused++
		return did, err
	}
	if crashes {
		did.Crashes++
		return did, nil
	}
	if err := door.enter(l.Key(), l.Token()); err != nil {
		return did, err
	}
	pause(ctx, briefly())
	if err := errors.Join(door.leave(l.Key()), l.Release(ctx)); err != nil {
		return did, err
	}
	did.Ours++
	return did, nil
}

// TestStrangersOnTheSamePool has processes of ours and strangers use one pool: no member has two holders, the
// invariants hold at every moment, and nothing is lost.
func TestStrangersOnTheSamePool(t *testing.T) {
	t.Parallel()
	busily(t)
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	be := open(t, url)
	keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns})
	const n = 16
	require.NoError(t, keys.Extend(ctx, members(n)))
	var processes []*process
	for i := range 4 {
		processes = append(processes, start(t, "mixed", mixedArgs{
			URL: url, Namespace: ns, TTL: time.Minute, Stranger: i%2 == 0,
		}))
	}
	over := time.NewTimer(scaled(t, 3*time.Second))
	defer over.Stop()
	watch := time.NewTicker(50 * time.Millisecond)
	defer watch.Stop()
	looks := 0
	for running := true; running && !t.Failed(); {
		select {
		case <-watch.C:
			seen := look(t, be, ns)
			assert.Empty(t, backend.CheckPool(seen, true))
			assert.Equal(t, n, seen.Total)
			looks++
		case <-over.C:
			running = false
		}
	}
	var sum mixedReport
	for _, p := range processes {
		p.say("stop")
	}
	for _, p := range processes {
		for range 4 {
			var did mixedReport
			p.hear(&did)
			assert.Empty(t, did.Problem)
			sum.Ours += did.Ours
			sum.Theirs += did.Theirs
			sum.Crashes += did.Crashes
			sum.Collected += did.Collected
		}
	}
	eventually(t, patience/2, "whatever crashed has run out", func() bool {
		_, err := keys.GC(ctx, n)
		require.NoError(t, err)
		return len(leftovers(look(t, be, ns))) == 0
	})
	assert.Positive(t, sum.Ours)
	assert.Positive(t, sum.Theirs)
	t.Logf("%d leases of ours, %d of strangers, %d crashes, %d members found by strangers' collections, %d looks",
		sum.Ours, sum.Theirs, sum.Crashes, sum.Collected, looks)
}

// glance is how often at least whoever is first in line looks for what was freed without a word.
const glance = 250 * time.Millisecond

// TestStrangerFreesAndTheFirstInLineIsServed has strangers give back members without a word while one of ours waits.
func TestStrangerFreesAndTheFirstInLineIsServed(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name string
		free func(t *testing.T, s *stranger, member string)
	}{
		{"freed", func(t *testing.T, s *stranger, member string) { require.NoError(t, s.free(member)) }},
		{"unlocked by hand", func(t *testing.T, s *stranger, member string) { s.cli.must(t, "DEL", s.ns.Lock(member)) }},
		{"lock ran out", func(t *testing.T, s *stranger, member string) {
			s.cli.must(t, "PEXPIRE", s.ns.Lock(member), "1")
		}},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
			be := open(t, url)
			keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns, TTL: time.Minute})
			s := &stranger{raw(t, url), ns}
			require.NoError(t, keys.Extend(ctx, members(3)))
			held, err := keys.MallocN(ctx, 2)
			require.NoError(t, err)
			var took, beyond []time.Duration
			for range 7 {
				member, err := s.malloc(time.Minute)
				require.NoError(t, err)
				require.NotEmpty(t, member)
				got := begin(func() ([]*Lease, error) { return one(keys.AcquireKey(ctx)) })
				eventually(t, patience, "a place in line", func() bool {
					length, err := keys.Waiting(ctx)
					require.NoError(t, err)
					return length == 1
				})
				pause(ctx, time.Duration(rand.IntN(250))*time.Millisecond)
				assert.Empty(t, got)
				way.free(t, s, member)
				began := time.Now()
				late := lateness(s.cli, began.Add(glance))
				next := <-got
				took = append(took, time.Since(began))
				beyond = append(beyond, excess(took[len(took)-1], late))
				require.NoError(t, next.err)
				assert.Equal(t, member, next.got[0].Key())
				require.NoError(t, next.got[0].Release(ctx))
			}
			for _, l := range held {
				require.NoError(t, l.Release(ctx))
			}
			assert.LessOrEqual(t, quantile(beyond, 0.5), glance+50*time.Millisecond)
			t.Logf("noticed after %v (median), %v at most", quantile(took, 0.5), quantile(took, 1))
		})
	}
}

// TestStrangerThatCrashedIsFound has strangers die with members in their hands, whose locks run out: a collection finds
// them, and so does the default policy on its way.
func TestStrangerThatCrashedIsFound(t *testing.T) {
	t.Parallel()
	url, ctx := redistest.URL(t), context.Background()
	be := open(t, url)
	crash := func(t *testing.T, ns backend.Namespace, n int) {
		s := &stranger{raw(t, url), ns}
		for range n {
			member, err := s.malloc(time.Millisecond)
			require.NoError(t, err)
			require.NotEmpty(t, member)
			eventually(t, patience, "the lock runs out", func() bool {
				return s.cli.int(t, "EXISTS", ns.Lock(member)) == 0
			})
		}
	}
	t.Run("GC", func(t *testing.T) {
		ns := newNamespace(t)
		keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns})
		require.NoError(t, keys.Extend(ctx, members(5)))
		crash(t, ns, 5)
		_, err := keys.MallocKey(ctx)
		require.ErrorIs(t, err, pool.ErrExhausted)
		found, err := keys.GC(ctx, 5)
		require.NoError(t, err)
		assert.Equal(t, 5, found.Freed)
		assert.Empty(t, leftovers(look(t, be, ns)))
	})
	t.Run("default policy", func(t *testing.T) {
		ns := newNamespace(t)
		keys := newPool(t, be, pool.Config[pool.None]{
			Namespace: ns, Policy: policy.Default(policy.Defaults[pool.None]{}),
		})
		const n = 40
		require.NoError(t, keys.Extend(ctx, members(n)))
		crash(t, ns, n)
		tries := 0
		eventually(t, patience, "an allocation comes across one", func() bool {
			tries++
			l, err := keys.MallocKey(ctx)
			if err != nil {
				require.ErrorIs(t, err, pool.ErrExhausted)
				return false
			}
			return assert.NoError(t, l.Release(ctx))
		})
		t.Logf("found by allocation %d", tries)
	})
	t.Run("waiting", func(t *testing.T) {
		ns := newNamespace(t)
		keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns})
		require.NoError(t, keys.Extend(ctx, members(5)))
		crash(t, ns, 5)
		began := time.Now()
		l, err := keys.AcquireKey(ctx)
		require.NoError(t, err)
		t.Logf("found after %v", time.Since(began))
		require.NoError(t, l.Release(ctx))
	})
}

// TestStrangersSeeWhatWeDo has strangers respect our leases and quarantines, and us theirs, and both prefer what the
// other has bound.
func TestStrangersSeeWhatWeDo(t *testing.T) {
	t.Parallel()
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	be := open(t, url)
	keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns, TTL: time.Minute})
	s := &stranger{raw(t, url), ns}
	require.NoError(t, keys.Extend(ctx, members(4)))

	leased, err := keys.MallocKey(ctx)
	require.NoError(t, err)
	sick, err := keys.MallocKey(ctx)
	require.NoError(t, err)
	require.NoError(t, sick.SetUnhealthy(ctx, time.Minute))
	require.NoError(t, sick.Release(ctx))
	found, err := s.collect()
	require.NoError(t, err)
	assert.Zero(t, found, "a stranger's collection leaves leases and quarantines alone")

	theirs, err := s.malloc(time.Minute)
	require.NoError(t, err)
	assert.Equal(t, members(4)[2], theirs)
	s.cli.must(t, "SET", ns.Binding("job"), members(4)[3], "EX", "3600")
	bound, err := keys.MallocKey(ctx, pool.Name("job"))
	require.NoError(t, err)
	assert.Equal(t, members(4)[3], bound.Key())
	none, err := s.malloc(time.Minute)
	require.NoError(t, err)
	assert.Empty(t, none)
	_, err = keys.MallocKey(ctx)
	require.ErrorIs(t, err, pool.ErrExhausted)
	require.NoError(t, bound.Release(ctx))
	other, err := keys.MallocKey(ctx, pool.Name("task"))
	require.NoError(t, err)
	reply := s.cli.must(t, "GET", ns.Binding("task"))
	member, err := reply.ToString()
	require.NoError(t, err)
	assert.Equal(t, other.Key(), member)

	// A lock that a stranger sets by hand is met on the way.
	require.NoError(t, other.Release(ctx))
	s.cli.must(t, "SET", ns.Lock(other.Key()), "1", "EX", "60")
	_, err = keys.MallocKey(ctx)
	require.ErrorIs(t, err, pool.ErrExhausted)
	require.NoError(t, s.free(other.Key()))
	require.NoError(t, s.free(theirs))
	require.NoError(t, leased.Release(ctx))
	freed, err := keys.FreeKeys(ctx, []string{sick.Key()})
	require.NoError(t, err)
	assert.Equal(t, 1, freed)
	assert.Empty(t, leftovers(look(t, be, ns)))
}

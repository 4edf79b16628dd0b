package integration

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

const historyProcesses = 8

// historyDuration is for how long histories of all kinds are made, together: INTEGRATION_SECONDS, or less.
func historyDuration(t *testing.T) time.Duration { return scaled(t, 9*time.Second) }

// seed gives the one of INTEGRATION_SEED, or another one each time.
func seed(t *testing.T) uint64 {
	n := rand.Uint64()
	if text := os.Getenv("INTEGRATION_SEED"); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("INTEGRATION_SEED=%d", n)
	return n
}

// fault does something to a process, its connection or the server, and tells how long it wants to be left alone.
type fault func(*theatre) time.Duration

// TestHistoriesOfLocks has eight processes lock and unlock, and let locks run out, while they are killed and stopped,
// their connections are cut and the server is restarted. As long as no holder is stopped and the server loses nothing,
// what they have done could have been done with a mutex within one process. In any case the fencing numbers grow, and
// what a store accepts that refuses older ones is as if one after the other had used it.
func TestHistoriesOfLocks(t *testing.T) {
	t.Parallel()
	busily(t)
	seed := seed(t)
	scenes := []struct {
		name   string
		kept   bool // the server has its data on disk
		mutex  bool // it must be one
		valid  bool // whoever is refused knows that its time is over
		faults []fault
	}{
		{"killed", true, true, true, []fault{killOne}},
		{"cut off", true, true, true, []fault{cutOne, cutOne, cutOne, cutOne, killOne}},
		{"restarted", true, true, true, []fault{restart, killOne, cutOne}},
		{"stopped", true, false, true, []fault{stopOne, stopOne, stopOne, stopOne, killOne, cutOne}},
		{"restarted without data", false, false, false, []fault{restart, stopOne, killOne, cutOne}},
	}
	for i, scene := range scenes {
		t.Run(scene.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // to be repeated
			th := newTheatre(t, r, scene.kept)
			th.play(historyDuration(t)/time.Duration(len(scenes)), scene.faults)
			if !scene.valid {
				th.problems = slices.DeleteFunc(th.problems, func(p string) bool { return strings.Contains(p, "refused while") })
			}
			assert.Empty(t, th.problems)
			th.check(scene.mutex)
		})
	}
}

// theatre is where histories are made.
type theatre struct {
	t      *testing.T
	ns     backend.Namespace
	rand   *rand.Rand
	server *redistest.Server
	store  *redistest.Server // another one, to which nothing happens
	cast   []*actor

	problems []string
	sections map[string]*section
}

// actor is a process, and its connections.
type actor struct {
	*process
	proxy *redistest.Proxy
}

// section is one acquisition, as far as it is known.
type section struct {
	entry
	by   *process
	died moment // 0: its process has not been killed while it was open
}

func newTheatre(t *testing.T, r *rand.Rand, kept bool) *theatre {
	t.Helper()
	var options []redistest.Option
	if kept {
		options = append(options, redistest.AppendOnly())
	}
	th := &theatre{
		t: t, ns: newNamespace(t), rand: r, server: redistest.Start(t, options...), store: redistest.Start(t),
		sections: make(map[string]*section),
	}
	for range historyProcesses {
		a := &actor{proxy: redistest.NewProxy(t, th.server.Addr())}
		th.cast = append(th.cast, a)
		th.enter(a)
	}
	return th
}

func (th *theatre) enter(a *actor) {
	th.t.Helper()
	a.process = start(th.t, "history", historyArgs{a.proxy.URL(), th.store.URL(), th.ns, th.rand.Uint64()})
}

func (th *theatre) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(th.rand.Int64N(int64(hi-lo)))
}

func killOne(th *theatre) time.Duration {
	a := th.cast[th.rand.IntN(len(th.cast))]
	th.kill(a)
	th.enter(a)
	return th.between(50*time.Millisecond, 300*time.Millisecond)
}

// kill ends a process, and notes when at the latest it still lived.
func (th *theatre) kill(a *actor) {
	lived := now()
	a.kill()
	th.listen(a)
	for _, s := range th.sections {
		if s.by == a.process && s.Unlocked == nil {
			s.died = lived
		}
	}
}

func stopOne(th *theatre) time.Duration {
	a := th.cast[th.rand.IntN(len(th.cast))]
	_ = a.cmd.Process.Signal(syscall.SIGSTOP)
	pause(th.t.Context(), th.between(historyTTL/4, 2*historyTTL))
	_ = a.cmd.Process.Signal(syscall.SIGCONT)
	return th.between(0, 50*time.Millisecond)
}

func cutOne(th *theatre) time.Duration {
	p := th.cast[th.rand.IntN(len(th.cast))].proxy
	directions := []redistest.Direction{redistest.Requests, redistest.Replies, redistest.Both}
	switch d := directions[th.rand.IntN(3)]; th.rand.IntN(5) {
	case 0:
		p.Cut()
	case 1:
		p.CutRequest(redistest.Nth(1+th.rand.IntN(10), "EVALSHA"))
	case 2:
		p.CutReply(redistest.Nth(1+th.rand.IntN(10), "EVALSHA"))
	case 3:
		p.Hold(d)
		pause(th.t.Context(), th.between(time.Millisecond, 2*historyTTL))
		p.Resume()
	case 4:
		p.Drop(d)
		pause(th.t.Context(), th.between(time.Millisecond, 2*historyTTL))
		p.Resume()
	}
	return th.between(0, 50*time.Millisecond)
}

func restart(th *theatre) time.Duration {
	th.server.Restart()
	return th.between(200*time.Millisecond, 600*time.Millisecond)
}

// play has everybody do what they do, for so long, while faults happen. Then all are dead.
func (th *theatre) play(d time.Duration, faults []fault) {
	th.t.Helper()
	n := 0
	over := time.Now().Add(d)
	slow := over.Add(patience) // a machine on which there would be no history yet
	for pause(th.t.Context(), historyTTL); time.Now().Before(over) || len(th.sections) < 100 && time.Now().Before(slow); n++ {
		pause(th.t.Context(), faults[th.rand.IntN(len(faults))](th))
		for _, a := range th.cast {
			th.listen(a)
		}
	}
	for _, a := range th.cast {
		th.kill(a)
	}
	th.t.Logf("%d faults in %v", n, d)
}

// listen notes what a process has told.
func (th *theatre) listen(a *actor) {
	for e := (entry{}); a.heard(&e); e = (entry{}) {
		switch s := th.sections[e.ID]; {
		case e.Problem != "":
			th.problems = append(th.problems, e.Problem)
		case e.Got:
			th.sections[e.ID] = &section{entry: e, by: a.process}
		case e.Read != nil:
			s.Read = e.Read
		case e.Leaving != nil:
			s.Leaving = e.Leaving
		case e.Unlocked != nil:
			s.Unlocked = e.Unlocked
		}
	}
}

// check looks at the histories of all names.
func (th *theatre) check(mutex bool) {
	th.t.Helper()
	stories := make(map[string][]*section)
	for _, s := range th.sections {
		stories[s.Name] = append(stories[s.Name], s)
	}
	require.NotEmpty(th.t, stories)
	assert.Empty(th.t, fencesBack(slices.Collect(maps.Values(th.sections))), "there is one sequence for all names")
	work := make(chan []*section)
	var operations, open, late atomic.Int64
	var checkers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		checkers.Go(func() {
			for story := range work {
				locks, accesses, swaps := histories(story)
				if mutex {
					assert.NoError(th.t, linearizable(mutexModel, locks), story[0].Name)
				}
				assert.NoError(th.t, linearizable(storeModel, accesses), story[0].Name)
				assert.NoError(th.t, linearizable(swapModel, swaps), story[0].Name)
				operations.Add(int64(len(locks) + len(accesses)))
				for _, s := range story {
					switch {
					case s.died != 0:
						open.Add(1)
					case s.Leaving != nil && !s.Leaving.Write.Accepted:
						late.Add(1)
					}
				}
			}
		})
	}
	for _, story := range stories {
		work <- story
	}
	close(work)
	checkers.Wait()
	th.t.Logf("%d histories of %d acquisitions, %d operations; %d holders died, %d came too late and were refused",
		len(stories), len(th.sections), operations.Load(), open.Load(), late.Load())
}

// histories gives the acquisitions of one name as porcupine wants them.
func histories(story []*section) (locks, accesses, swaps []porcupine.Operation) {
	number := make(map[string]int, len(story)) // 0 is nobody
	for i, s := range story {
		number[s.ID] = i + 1
	}
	for i, s := range story {
		me := i + 1
		end, until := s.end()
		locks = append(locks,
			porcupine.Operation{ClientId: i, Call: s.Call, Return: s.Return, Input: lockStep{holder: me, fence: s.Fence}},
			porcupine.Operation{ClientId: i, Call: end, Return: until, Input: lockStep{holder: me, fence: s.Fence, end: true}})

		use := func(write bool, call, ret moment, out answer) {
			accesses = append(accesses, porcupine.Operation{
				ClientId: i, Call: call, Return: ret, Input: access{me, s.Fence, write}, Output: out,
			})
		}
		if s.Read == nil {
			use(false, s.Return, forever, answer{})
			continue
		}
		r, before := s.Read, number[s.Read.Value]
		use(false, r.Call, r.Return, answer{true, r.Accepted, before})
		if s.Leaving == nil {
			use(true, r.Return, forever, answer{})
			if r.Accepted {
				swaps = append(swaps, porcupine.Operation{ClientId: i, Call: r.Call, Return: forever, Input: swap{me, before, false}})
			}
			continue
		}
		w := &s.Leaving.Write
		use(true, w.Call, w.Return, answer{true, w.Accepted, me})
		if w.Accepted {
			swaps = append(swaps, porcupine.Operation{ClientId: i, Call: r.Call, Return: w.Return, Input: swap{me, before, true}})
		}
	}
	return locks, accesses, swaps
}

// end tells from when to when the time of a holder may have ended: not before it gave the lock back, died, or saw that
// it had run out.
func (s *section) end() (from, to moment) {
	switch {
	case s.Leaving == nil:
		return min(cmp.Or(s.died, forever), s.Deadline), forever
	case s.Unlocked == nil || !s.Unlocked.Known:
		return s.Leaving.End, forever
	default:
		return s.Leaving.End, s.Unlocked.Return
	}
}

// fencesBack finds an acquisition that began after another one had been there, and has a fence that is not larger.
func fencesBack(story []*section) string {
	byReturn := slices.SortedFunc(slices.Values(story), func(a, b *section) int { return cmp.Compare(a.Return, b.Return) })
	byCall := slices.SortedFunc(slices.Values(story), func(a, b *section) int { return cmp.Compare(a.Call, b.Call) })
	newest, i := int64(0), 0
	for _, s := range byCall {
		for ; byReturn[i].Return < s.Call; i++ {
			newest = max(newest, byReturn[i].Fence)
		}
		if s.Fence <= newest {
			return strconv.FormatInt(s.Fence, 10) + " came after " + strconv.FormatInt(newest, 10)
		}
	}
	return ""
}

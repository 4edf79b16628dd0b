package memory_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

// woken reports whether a listener has been woken since the last time.
func woken(reply backend.FetchReply) bool {
	select {
	case <-reply.Wake:
		return true
	default:
		return false
	}
}

func TestWhoIsWokenInVainPassesItOn(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		two := func(listener string, most int) backend.FetchReply {
			t.Helper()
			return r.fetchAs(backend.FetchRequest{
				Listener: listener, Max: most, Queues: []backend.FetchQueue{{Name: "q", Room: 1}, {Name: "r", Room: 1}},
			})
		}
		a, b, c := two("a", 1), two("b", 1), r.fetch("c", 1)
		r.submit("1")
		r.submitAs(backend.SubmitRequest{ID: "2", Queue: "r"})
		require.Equal(t, []bool{true, false, false}, []bool{woken(a), woken(b), woken(c)}, "for both")
		require.Equal(t, []string{"1"}, ids(two("a", 1).Tasks))
		require.Equal(t, []bool{true, false}, []bool{woken(b), woken(c)}, "the first one has no room for the other")
		r.fetchAs(backend.FetchRequest{Listener: "b", Leave: true})
		require.False(t, woken(c), "who does not listen to it")

		r.submit("3")
		require.True(t, woken(c))
		d := r.fetch("d", 0)
		require.False(t, woken(d))
		e := r.fetchAs(backend.FetchRequest{Listener: "e", Max: 5, Queues: []backend.FetchQueue{{Name: "r", Room: 5}}})
		require.Equal(t, []string{"2"}, ids(e.Tasks))
		r.fetch("d", 1, "3")
		f := r.fetch("f", 1)
		r.submit("4")
		require.True(t, woken(f), "the other one was woken, and has not called since")
		require.False(t, woken(c))
		r.fetchAs(backend.FetchRequest{Listener: "f", Leave: true})
		require.False(t, woken(c))
		r.fetch("c", 1, "4")
	})
}

func TestWhoListensToOtherQueuesPassesItOn(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		a, b := r.fetch("a", 1), r.fetch("b", 1)
		r.submit("1")
		require.Equal(t, []bool{true, false}, []bool{woken(a), woken(b)})
		r.fetchAs(backend.FetchRequest{Listener: "a", Max: 1, Queues: []backend.FetchQueue{{Name: "r", Room: 1}}})
		require.True(t, woken(b))
	})
}

func TestWhoIsSilentIsNotWoken(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		a := r.fetch("a", 1)
		pass(time.Minute)
		b, c := r.fetch("b", 1), r.fetch("c", 1)
		pass(59 * time.Minute)
		r.submit("1")
		require.Equal(t, []bool{false, true, false}, []bool{woken(a), woken(b), woken(c)})
		r.fetch("a", 1, "1")
	})
}

func TestWhoSeesToTheClock(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		all := make([]backend.FetchReply, 5)
		for i := range all {
			all[i] = r.fetch(fmt.Sprint(i), 1)
			require.Equal(t, backend.NoExpiry, all[i].Next)
		}
		state := func() (woke []int) {
			for i := range all {
				if woken(all[i]) {
					woke = append(woke, i)
				}
			}
			return woke
		}
		next := func(i int) time.Duration { // without taking anything
			reply, err := r.Fetch(t.Context(), backend.FetchRequest{
				Namespace: ns, Listener: fmt.Sprint(i), Token: "t", TTL: time.Minute, Mark: time.Hour, Max: 1,
				Queues: []backend.FetchQueue{{Name: "q", Room: 1}},
			})
			require.NoError(t, err)
			return reply.Next
		}

		r.submitAs(backend.SubmitRequest{ID: "later", Delay: time.Minute})
		require.Equal(t, []int{0}, state(), "one learns of it")
		require.Equal(t, time.Minute, next(0))
		r.submitAs(backend.SubmitRequest{ID: "last", Delay: time.Hour, Timeout: 2 * time.Hour})
		require.Empty(t, state(), "nothing new for who sees to it")
		r.submitAs(backend.SubmitRequest{ID: "sooner", Delay: time.Second})
		require.Equal(t, []int{0}, state())
		require.Equal(t, []time.Duration{time.Second, time.Second, time.Second, backend.NoExpiry, backend.NoExpiry},
			[]time.Duration{next(0), next(1), next(2), next(3), next(4)})

		r.submit("now", "again", "more")
		require.Equal(t, []int{0, 1, 2}, state())
		r.fetch("0", 1, "now")
		require.Equal(t, time.Second, next(3), "the others are gone")
		r.fetchAs(backend.FetchRequest{Listener: "3", Leave: true})
		require.Equal(t, []int{4}, state(), "nobody else sees to it")
		require.Equal(t, time.Second, next(4))
		pass(time.Second)
		r.fetch("4", 2, "again", "more")
		require.Equal(t, backend.NoExpiry, r.fetch("4", 0).Next, "there is no room")
		r.fetch("5", 1, "sooner")
	})
}

func TestAStepSettlesOnlySoMuch(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		for i := range 150 {
			r.submitAs(backend.SubmitRequest{ID: fmt.Sprintf("%03d", i), Delay: time.Minute})
		}
		pass(time.Minute)
		all := backend.FetchRequest{Listener: "l", Max: 1000, TTL: time.Hour}
		reply := r.fetchAs(all)
		require.Zero(t, reply.Next)
		require.False(t, reply.Idle)
		got := ids(reply.Tasks)
		reply = r.fetchAs(all)
		require.True(t, reply.Idle)
		got = append(got, ids(reply.Tasks)...)
		require.Len(t, got, 150)
		require.IsIncreasing(t, got)

		for i := range 150 {
			r.submitAs(backend.SubmitRequest{ID: fmt.Sprint(i), Timeout: time.Minute})
		}
		r.submit("behind")
		pass(time.Minute)
		reply = r.fetchAs(backend.FetchRequest{Listener: "m", Max: 1, Queues: []backend.FetchQueue{{Name: "q", Room: 1}}})
		for reply.Next == 0 {
			require.Empty(t, reply.Tasks)
			reply = r.fetchAs(backend.FetchRequest{Listener: "m", Max: 1, Queues: []backend.FetchQueue{{Name: "q", Room: 1}}})
		}
		require.Equal(t, []string{"behind"}, ids(reply.Tasks))
	})
}

func TestPausedQueuesWakeNobody(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		all := []backend.FetchReply{r.fetch("a", 1), r.fetch("b", 1), r.fetch("c", 1)}
		r.pause(backend.QueuePause)
		r.submit("1", "2")
		for _, l := range all {
			require.False(t, woken(l))
		}
		require.True(t, r.fetch("c", 1).Idle)
		r.pause(backend.QueueResume)
		require.Equal(t, []bool{true, true, false}, []bool{woken(all[0]), woken(all[1]), woken(all[2])}, "one for each task")
		r.pause(backend.QueueResume)
		require.False(t, woken(all[2]))
	})
}

func TestLostLeasesNeverBlock(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		const n = 200
		for i := range n {
			r.submit(fmt.Sprint(i))
		}
		reply := r.fetchAs(backend.FetchRequest{Listener: "l", Max: n})
		for i := range n {
			require.True(t, r.editTask(backend.TasksCancel, fmt.Sprint(i)))
		}
		require.Equal(t, backend.Held{Member: "0", Token: "l's"}, <-reply.Lost)
		require.False(t, r.report("0", "l", backend.ReportDone, 0))
	})
}

package integration

import (
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// fault does something to a process, its connection or the server, and tells how long it wants to be left alone.
type fault func(*theatre) time.Duration

func (th *theatre) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(th.rand.Int64N(int64(hi-lo)))
}

func (th *theatre) anyone() *actor { return th.cast[th.rand.IntN(len(th.cast))] }

func killOne(th *theatre) time.Duration {
	a := th.anyone()
	th.kill(a)
	th.enter(a)
	return th.between(50*time.Millisecond, 300*time.Millisecond)
}

func stopOne(th *theatre) time.Duration {
	a := th.anyone()
	_ = a.cmd.Process.Signal(syscall.SIGSTOP)
	pause(th.t.Context(), th.between(historyTTL/4, 2*historyTTL))
	_ = a.cmd.Process.Signal(syscall.SIGCONT)
	return th.between(0, 50*time.Millisecond)
}

func cutOne(th *theatre) time.Duration {
	p := th.anyone().proxy
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

// poisonOne has connections be slow, irregular, cut up, silent or closed at one end for some time, or resets them.
func poisonOne(th *theatre) time.Duration {
	f := th.anyone().front
	direction := []string{"upstream", "downstream"}[th.rand.IntN(2)]
	switch th.rand.IntN(7) {
	case 0:
		f.add("latency", direction, map[string]any{"latency": th.rand.IntN(100)})
	case 1:
		f.add("latency", direction, map[string]any{"latency": th.rand.IntN(50), "jitter": th.rand.IntN(100)})
	case 2:
		f.add("bandwidth", direction, map[string]any{"rate": 1 + th.rand.IntN(50)}) // KB/s
	case 3:
		f.add("slicer", direction, map[string]any{"average_size": 20, "size_variation": 10, "delay": th.rand.IntN(2000)}) // µs
	case 4:
		f.add(toxicHoleType, direction, map[string]any{"timeout": 0})
	case 5:
		f.add(toxicResetType, direction, map[string]any{"timeout": th.rand.IntN(50)})
	case 6:
		f.each(func(l *toxicLink) {
			if direction == "upstream" {
				_ = l.server.CloseWrite()
			} else {
				_ = l.client.CloseWrite()
			}
		})
	}
	pause(th.t.Context(), th.between(historyTTL/4, 2*historyTTL))
	f.clean()
	return th.between(0, 50*time.Millisecond)
}

// failOver breaks the primary, so that a replica takes its place, and mends it again, for the next time. Sentinels that
// have just done that are in no hurry to do it again.
func failOver(th *theatre) time.Duration {
	const rest = 20 * time.Second // twice the failover timeout of [redistest.StartSentinels]
	if time.Since(th.failedOver) < rest {
		return killOne(th)
	}
	th.failedOver = time.Now()
	broken, breakIt, mend := th.sentinels.Primary(), (*redistest.Server).Kill, (*redistest.Server).Restart
	if th.rand.IntN(2) == 0 {
		breakIt, mend = (*redistest.Server).Pause, (*redistest.Server).Resume // it takes itself for the primary still
	}
	th.sentinels.FailOver(breakIt)
	mend(broken)
	return th.between(historyTTL, 4*historyTTL)
}

// failOverNode does so with the node of a Cluster that has the locks, or a pool.
func failOverNode(th *theatre) time.Duration {
	key := th.key()
	broken, breakIt, mend := th.cluster.Owner(key), (*redistest.Server).Kill, (*redistest.Server).Restart
	if th.rand.IntN(2) == 0 {
		breakIt, mend = (*redistest.Server).Pause, (*redistest.Server).Resume
	}
	th.cluster.FailOver(key, breakIt)
	mend(broken)
	return th.between(historyTTL, 4*historyTTL)
}

// moveSlot moves the slot of the locks, or of a pool, to another node of the Cluster, some keys at a time.
func moveSlot(th *theatre) time.Duration {
	key := th.key()
	to := th.cluster.Other(key)
	th.cluster.BeginMove(key, to)
	for n := 1 + th.rand.IntN(16); th.cluster.MoveKeys(key, to, n) > 0; {
		pause(th.t.Context(), th.between(0, historyTTL/4)) // for those who would take one half for the whole
	}
	th.cluster.EndMove(key, to)
	return th.between(historyTTL/4, 2*historyTTL)
}

// switchNode has the replica of the node that has the locks, or a pool, take its place, without a loss.
func switchNode(th *theatre) time.Duration {
	th.cluster.Switch(th.cluster.Replica(th.cluster.Owner(th.key())))
	return th.between(historyTTL/4, 2*historyTTL)
}

// key is that of the locks, or of a pool that is used now.
func (th *theatre) key() string {
	ns := th.ns
	if th.rand.IntN(3) == 0 {
		ns.Suffix = kindOf("pool").resource(th.rand.IntN(2))
	}
	return ns.Fence()
}

package benchmarks

import "fmt"

const busy = "What is busy is the server, which has more to do than by hand: it numbers the lock and looks at its line. Calls that " +
	"travel together make up for most of that."

const byHandToo = "By hand, through the same client, it is not that much faster either (lock-64): both wait for the same server."

const waking = "Both sides mostly measure how long it takes to wake up a process that was idle, and to put its goroutine on a " +
	"processor: the same on both, and more than the messages take."

func lockGoals() group {
	return group{
		title: "Locks",
		about: "A pair is a `TryLock` and an `Unlock`, each goroutine on a name of its own: with token, fencing number, renewal and a " +
			"context. By hand it is `SET NX PX` and the script that deletes the key if it still has the value; that knows no " +
			"fences, no line and no renewal. The other libraries have a connection for each goroutine, as without one they would wait for it.",
		experiments: []experiment{
			lockPairGoal("lock", 1, 0.9, "by hand", (*bench).rawLockPairs,
				"One goroutine waits for each call, and most of that is waking up, on both sides. What is left: the two "+
					"scripts take the server some 8 µs more than a `SET` and a script that deletes, for the fencing number and the line."),
			lockPairGoal("lock", 64, 0.9, "by hand", (*bench).rawLockPairs, busy),
			lockPairGoal("lock", 512, 0.8, "by hand", (*bench).rawLockPairs, busy),
			lockPairGoal("lock-bsm", 64, 3, "bsm/redislock", (*bench).bsmLockPairs, byHandToo),
			lockPairGoal("lock-redsync", 64, 3, "redsync", (*bench).redsyncLockPairs, byHandToo),
			lockPairGoal("lock-rueidislock", 64, 1.5, "rueidislock", (*bench).rueidislockPairs, ""),
			{[]goal{
				{
					name: "lock-handoff-p50", bound: atMost(0.35, ""),
					about: "16 clients always want one lock, each holds it for 20 ms: median from the call that unlocks to the " +
						"return of the call that has locked, over rueidislock's",
					short: waking,
				},
				{
					name: "lock-handoff-p99", bound: atMost(0.6, ""),
					about: "the same, 99th percentile",
					short: waking,
				},
				{
					name: "lock-handoff-tries", bound: atMost(1.05, ""),
					about: "how often the server was asked for each of these acquisitions; that of rueidislock beside it",
				},
				{
					name: "lock-handoff-share", bound: atLeast(0.9),
					about: "acquisitions of the client that got the fewest over the one that got the most; that of rueidislock beside it",
				},
			}, true, lockHandoff},
			one(goal{
				name: "contended", bound: atLeast(2),
				about: fmt.Sprintf("%d processes with %d goroutines each want one lock and give it back at once: acquisitions per second, over rueidislock's",
					contendProcesses, contendWorkers),
				short: "In turn means that each acquisition is somebody else's, mostly in another process: two processes " +
					"have to run for each. rueidislock may lock again in the process that runs, and lets the others wait.",
			}, contended),
			one(goal{
				name: "redlock", bound: atMost(2.5, ""),
				about: fmt.Sprintf("time of a `Redlock` pair on %d servers, over one round trip to all of them at once", redlockServers),
				short: "A pair is two round trips, so nothing is below 2. The rest are the scripts of three servers, which share two " +
					"processors with their client.",
			}, redlock),
			keptGoals("held", "held locks", "each of them, with its `Mutex`", heldLocks),
			one(goal{
				name: "overlap-rueidislock", bound: atMost(0, "s"),
				about: "a holder's packets vanish, and the lock passes on when it has run out: how long the first holder's context " +
					"goes on beside the second's; that of rueidislock beside it",
			}, overlap),
		},
	}
}

func lockPairGoal(name string, goroutines int, least float64, whose string, prepare preparation, short string) experiment {
	return one(goal{
		name: fmt.Sprintf("%s-%d", name, goroutines), bound: atLeast(least),
		about: fmt.Sprintf("pairs per second by %s, over %s", plural(goroutines, "goroutine"), whose),
		short: short,
	}, lockPairs(goroutines, prepare))
}

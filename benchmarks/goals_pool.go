package benchmarks

import (
	"context"
	"fmt"
)

// nothingTwice is the floor: no pair of calls can be had for less.
const nothingTwice = "two calls of a script that does nothing"

const serverBusy = "What is busy is the server: a pair takes it up to two and a half times the processor time of two scripts that do " +
	"nothing (8 goroutines), one and a half times with 64. It moves a member, numbers it and writes a lock with an end. That calls " +
	"travel together saves it reading and writing; what that is worth beside running Lua differs from machine to machine."

func poolGoals() group {
	return group{
		title: "Pools",
		about: "A pair is a `Malloc` and a `Release`: a lease with its token, deadline, fencing number and renewal, on a pool of 5,000 " +
			"members if nothing else is said. Its floor is " + nothingTwice + ", through the same client: what the round trips " +
			"alone cost. That a ratio can be above 1 comes from calls of many goroutines that travel together.",
		experiments: []experiment{
			pairGoal(1, 0.75),
			pairGoal(8, 0.5),
			pairGoal(64, 0.85),
			pairGoal(512, 1.05),
			one(goal{
				name: "spop-512", bound: atLeast(0.85),
				about: "pairs by 512 goroutines, over `SPOP` and `SADD` on a set: a pool without leases, order, or anybody's death",
				short: serverBusy,
			}, spop),
			one(goal{
				name: "policy-1", bound: atLeast(0.9),
				about: "pairs with `policy.Default` (collects, refreshes), over pairs without a policy",
				short: "A lone caller waits for all that the server does, and with this policy each call also looks at some members whether " +
					"they have to be collected.",
			}, withPolicy),
			one(goal{
				name: "size", bound: atMost(1.3, ""),
				about: "time of a pair in a pool of 1,000,000, over one of 10",
			}, size),
			{[]goal{
				{
					name: "bulk-wait", bound: atMost(2, "ms"),
					about: "99th percentile of others' pairs while 1,000,000 members are loaded, less that of an idle server",
				},
				{
					name: "bulk-rate", bound: atLeast(0.3),
					about: "members per second of that load, over as many pipelined `HSET`",
				},
			}, true, bulk},
			keptGoals("leases", "live leases", "each of them", leases),
			one(goal{
				name: "handoff", bound: atMost(3.5, ""),
				about: "median from a `Release` to the return of the `Acquire` that waited, in another backend, over one call " +
					"of a script that does nothing",
			}, handoff),
		},
	}
}

func pairGoal(goroutines int, least float64) experiment {
	return one(goal{
		name: fmt.Sprintf("pair-%d", goroutines), bound: atLeast(least),
		about: fmt.Sprintf("pairs per second by %s, over %s", plural(goroutines, "goroutine"), nothingTwice),
		short: serverBusy,
	}, pairs(goroutines))
}

// keptGoals are what it costs to keep many leases, whatever they are of.
func keptGoals(name, what, each string, run func(context.Context, *bench) ([]figure, error)) experiment {
	return experiment{[]goal{
		{name: name + "-goroutines", bound: atMost(10, ""), about: "goroutines for 100,000 " + what + " in one process"},
		{name: name + "-bytes", bound: atMost(1024, ""), about: "bytes of heap and stacks for " + each},
		{name: name + "-calls", bound: atMost(2, ""), about: "calls per second for their renewal, over full batches of 1,000"},
	}, true, run}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

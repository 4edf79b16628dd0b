package benchmarks

import "fmt"

func memoryGoals() group {
	return group{
		title: "Without a server",
		about: "The backend in memory has the whole contract: leases, tokens, deadlines, fences, lines. puddle hands out resources in " +
			"one process and knows none of that, and two channels are the least that a call to another goroutine can cost.",
		experiments: []experiment{
			memoryPairGoal(1),
			memoryPairGoal(64),
			local(goal{
				name: "memory-query", bound: atMost(12, ""),
				about: "time of a `Query` on the backend in memory, over two channels",
				short: "A task is kept under its id with a lease, a deadline and its result, and passes four goroutines: the caller, the " +
					"one that fetches, the handler, the one that reports. Two channels pass two, and keep nothing.",
			}, memoryQuery),
			local(goal{
				name: "allocs", bound: atMost(8, ""),
				about: "heap allocations of a `Malloc` and a `Release`",
			}, allocs),
		},
	}
}

func memoryPairGoal(goroutines int) experiment {
	return local(goal{
		name: fmt.Sprintf("memory-%d", goroutines), bound: atMost(3, ""),
		about: fmt.Sprintf("time of a `Malloc` and a `Release` by %s, over puddle's", plural(goroutines, "goroutine")),
		short: "puddle has no leases: a pair there is a list and a mutex. Here it also makes a token and a fencing number, reads the " +
			"clock, and keeps the lease by its deadline until it is given back.",
	}, inProcess(goroutines))
}

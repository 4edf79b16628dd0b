package benchmarks

import "fmt"

func taskGoals() group {
	return group{
		title: "Tasks",
		about: "Submitters and workers have clients of their own. By hand, a query is `RPUSH` and `BLPOP` on a list of requests and on " +
			"one for the replies of each caller, with a connection for each call that blocks; that knows no leases, no results " +
			"that are kept, and nobody's death. asynq has its own defaults.",
		experiments: []experiment{
			one(goal{
				name: "query-idle", bound: atMost(6, ""),
				about: "time of a `Query` on an idle queue, there and back, over one call of a script that does nothing",
				short: "There and back are five steps, one after the other: the submission, the message to the worker, its fetch, its report, " +
					"and the message back. Most of them wake up somebody who was idle, which costs more on some machines than a call does.",
			}, queryIdle),
			queryGoal(64, 0.8),
			queryGoal(512, 1),
			one(goal{
				name: "submit-64", bound: atLeast(1.5),
				about: "submissions per second by 64 goroutines, over asynq's",
			}, submits(64)),
			one(goal{
				name: "process-64", bound: atLeast(4),
				about: "tasks per second that 64 handlers work off a full queue, over asynq's",
			}, process(64)),
			one(goal{
				name: "start-idle", bound: atMost(0.01, ""),
				about: "time from a `Submit` to an idle queue until the handler begins, over asynq's, which looks every second",
			}, startIdle),
			one(goal{
				name: "depth", bound: atLeast(0.9),
				about: "tasks per second through a queue in which 1,000,000 wait, over one with 100",
			}, depth),
		},
	}
}

func queryGoal(callers int, least float64) experiment {
	return one(goal{
		name: fmt.Sprintf("query-%d", callers), bound: atLeast(least),
		about: fmt.Sprintf("queries per second of %d callers, served by as many handlers, over lists by hand", callers),
		short: "What is busy is the server: a query takes it some 40 µs with 64 callers, by hand 25 µs, as the task is kept with a lease until " +
			"its end, and its result after that. The clients need half of the processor time that they need by hand.",
	}, queries(callers))
}

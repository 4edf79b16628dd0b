package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// jobs is the queue of these tests.
type jobs = task.Queue[job, product]

// job is what the handlers of these tests are to do.
type job struct {
	N     int
	Takes time.Duration
	Plan  []deed // of each attempt, the last one of all that follow; without any: it works
}

// deed is what an attempt does.
type deed string

const (
	works    deed = "works"    // for some time, unless its context ends
	fails    deed = "fails"    // with errBroken
	fatal    deed = "fatal"    // fails, and says that this is final
	endless  deed = "endless"  // goes on until its context ends
	holds    deed = "holds"    // tells of itself, and goes on until it is told to end, or its context ends
	stubborn deed = "stubborn" // as holds, but does not care for its context
	crashes  deed = "crashes"  // and its process with it
)

// product is what a job gives.
type product struct {
	N       int
	Attempt int
	Fence   int64
	By      int // process
}

var errBroken = &task.Error{Code: "broken", Message: "does not work", Retryable: true}

// taskArgs describe a process that serves a queue.
type taskArgs struct {
	URL            string
	Namespace      backend.Namespace
	Ledger         string // a file to which it adds what it does; none if empty
	LeaseTTL, Mark time.Duration
	Concurrency    int
}

// attempt is what is told, or noted, of one.
type attempt struct {
	What    string // "begins", or the kind of an event
	ID      string
	Attempt int `json:",omitempty"`
	Fence   int64
	Token   string `json:",omitempty"`
	Cause   string `json:",omitempty"` // why its context has ended
}

const begins = "begins"

// taskWorker serves a queue until it is killed.
func taskWorker(w *worker) error {
	var args taskArgs
	if err := w.read(&args); err != nil {
		return err
	}
	be, err := connect(args.URL)
	if err != nil {
		return err
	}
	h := &hand{tell: w.tell, in: w.in}
	if args.Ledger != "" {
		if h.ledger, err = os.OpenFile(args.Ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	q := newJobs(be, args.Namespace, task.ServerConfig{
		Concurrency: args.Concurrency, LeaseTTL: args.LeaseTTL, Mark: args.Mark, Observer: h,
	})
	return q.Listen(context.Background(), h.do)
}

func newJobs(be task.Backend, ns backend.Namespace, server task.ServerConfig) *jobs {
	return task.NewQueue[job, product](be, ns, "jobs", task.Config{
		Server: server, MaxDeaths: backend.MaxDeaths, // a busy machine may renew too late
		Backoff: func(int, error) time.Duration { return 20 * time.Millisecond },
	})
}

// hand does jobs.
type hand struct {
	tell   func(any)
	in     chan string
	ledger *os.File

	tokens sync.Map // by id
}

// Observe notes how attempts end.
func (h *hand) Observe(e backend.Event) {
	if e.Kind == backend.EventStarted {
		h.tokens.Store(e.Member, e.Token)
		return
	}
	h.note(attempt{What: e.Kind.String(), ID: e.Member, Fence: e.Fence})
}

// note adds a line to the ledger, which is there also if the process is killed right after that.
func (h *hand) note(a attempt) {
	if h.ledger == nil {
		return
	}
	line, err := json.Marshal(a)
	if err == nil {
		_, err = h.ledger.Write(append(line, '\n'))
	}
	if err != nil {
		panic(err)
	}
}

func (h *hand) do(ctx context.Context, t *task.Task[job]) (product, error) {
	j := t.Params()
	token, _ := h.tokens.Load(t.ID())
	a := attempt{What: begins, ID: t.ID(), Attempt: t.Attempt(), Fence: t.Fence()}
	h.note(a)
	a.Token, _ = token.(string)
	plan := works
	if len(j.Plan) > 0 {
		plan = j.Plan[min(t.Attempt(), len(j.Plan))-1]
	}
	switch plan {
	case fails:
		return product{}, errBroken
	case fatal:
		return product{}, task.Final(errBroken)
	case endless:
		<-ctx.Done()
	case holds, stubborn:
		h.tell(a)
		if plan == holds {
			select {
			case <-h.in:
			case <-ctx.Done():
			}
		} else {
			<-h.in
		}
		a.What = "ends"
		if ctx.Err() != nil {
			a.Cause = context.Cause(ctx).Error()
		}
		h.tell(a)
	case crashes:
		os.Exit(9)
	default:
		pause(ctx, j.Takes)
	}
	if plan != stubborn && ctx.Err() != nil {
		return product{}, context.Cause(ctx)
	}
	return product{N: j.N, Attempt: t.Attempt(), Fence: t.Fence(), By: os.Getpid()}, nil
}

// readLedger gives what is in a ledger.
func readLedger(tb testing.TB, name string) (all []attempt) {
	tb.Helper()
	data, err := os.ReadFile(name)
	require.NoError(tb, err)
	for line := range bytes.Lines(data) {
		var a attempt
		require.NoError(tb, json.Unmarshal(line, &a), string(line))
		all = append(all, a)
	}
	return all
}

// listenUntil serves a queue in this process until the function is called, or the test ends.
func listenUntil(tb testing.TB, q *jobs, h task.Handler[job, product]) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := begin(func() (struct{}, error) { return struct{}{}, q.Listen(ctx, h) })
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(tb, await(tb, done).err)
	})
	tb.Cleanup(stop)
	return stop
}

// insist does something again as long as the store is away.
func insist[T any](ctx context.Context, do func() (T, error)) (T, error) {
	for {
		got, err := do()
		if !errors.Is(err, backend.ErrUnavailable) || ctx.Err() != nil {
			return got, err
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// askArgs describe a process that asks for a job.
type askArgs struct {
	URL       string
	Namespace backend.Namespace
	ID        string
	Times     int // at once
	Job       job
	Wait      bool // only for its end
}

type askReport struct {
	Ready    bool
	Product  product
	Conflict bool
	Problem  string
}

// askWorker asks for a job as soon as it is told to.
func askWorker(w *worker) error {
	var args askArgs
	if err := w.read(&args); err != nil {
		return err
	}
	be, err := connect(args.URL)
	if err != nil {
		return err
	}
	q, ctx := newJobs(be, args.Namespace, task.ServerConfig{}), context.Background()
	w.tell(askReport{Ready: true})
	<-w.in
	for range args.Times {
		go func() {
			got, err := insist(ctx, func() (product, error) {
				if args.Wait {
					return q.Wait(ctx, args.ID)
				}
				return q.Query(ctx, args.Job, task.ID(args.ID))
			})
			report := askReport{Product: got, Conflict: errors.Is(err, task.ErrConflict)}
			if err != nil {
				report.Problem = err.Error()
			}
			w.tell(report)
		}()
	}
	for range w.in {
	}
	return nil
}

// ask starts a process that asks, and has it begin.
func ask(tb testing.TB, args askArgs) *process {
	tb.Helper()
	p := start(tb, "ask", args)
	var ready askReport
	p.hear(&ready)
	require.True(tb, ready.Ready)
	p.say("go")
	return p
}

package stress

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
)

// patience is how long anything may take that has to happen some time, on however slow a machine.
const patience = time.Minute

// Work runs the worker that this process was started as, and does not return then. In any other process it does nothing.
func Work() {
	text, ok := os.LookupEnv(environment)
	if !ok {
		return
	}
	signal.Ignore(os.Interrupt) // it is for the parent to say
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = work(j, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// worker is one process of those that work.
type worker struct {
	job
	be    *rueidis.Backend
	guard *guard

	open  context.Context // ends when nothing new is to be begun
	ctx   context.Context // of all calls; it does not end
	hands []*hand

	mu  sync.Mutex
	did message
	out *json.Encoder
}

// work does what the job says until in says that it is over. It ends with its parent.
func work(j job, in io.Reader, out io.Writer) error {
	ctx := context.Background()
	be, err := connect(ctx, j.URL, true)
	if err != nil {
		return err
	}
	defer be.Close()
	client, err := dial(ctx, j.URL)
	if err != nil {
		return err
	}
	defer client.Close()
	open, stop := context.WithCancel(ctx)
	serving, end := context.WithCancel(ctx)
	defer stop()
	defer end()
	w := &worker{job: j, be: be, guard: &guard{client, j.guard()}, open: open, ctx: ctx, out: json.NewEncoder(out)}
	w.tell(message{Process: backend.ProcessID()})
	go func() {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			switch lines.Text() {
			case sayStop:
				stop()
			case sayEnd:
				stop()
				end()
			}
		}
		if serving.Err() == nil {
			os.Exit(3) // the parent is gone
		}
	}()
	if j.Quit {
		stop()
	}

	var hands, rest sync.WaitGroup
	rest.Go(func() { w.report(serving) })
	closePools, err := w.usePools(&hands)
	if err != nil {
		return err
	}
	w.useLocks(&hands)
	rest.Go(func() {
		if err := w.serve(serving); err != nil {
			w.complain("server of tasks: %v", err)
		}
	})
	w.submit(&hands)
	hands.Wait()
	w.tell(message{Stopped: true})
	<-serving.Done()
	rest.Wait()
	if err := closePools(); err != nil {
		w.complain("closing the pools: %v", err)
	}
	w.flush()
	return nil
}

// connect opens a backend, also where the server is busy for a moment or, if it is to be there again, away.
func connect(ctx context.Context, url string, again bool) (*rueidis.Backend, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		be, err := rueidis.Open(ctx, url)
		if !errors.Is(err, backend.ErrUnavailable) || !again && errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() != nil {
			return be, err
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// hand is one goroutine of a worker that does one thing after the other.
type hand struct {
	*worker
	*rand.Rand
	name  string
	id    string       // of this hand alone, in all processes: it begins with that of its process, see job.id
	steps int          // that it has begun
	since atomic.Int64 // when the present step began, in ns; 0: none is under way
}

// begin has n hands take steps until nothing new is to be begun. An error of a step is a complaint.
func (w *worker) begin(hands *sync.WaitGroup, name string, n int, step func(*hand) error) {
	for range n {
		number := len(w.hands)
		h := &hand{
			worker: w, name: name, id: fmt.Sprintf("%s.%d", w.id(), number),
			Rand: rand.New(rand.NewPCG(w.Seed, sequence(w.Slot, w.Life, number))), //nolint:gosec // to be repeated
		}
		w.mu.Lock()
		w.hands = append(w.hands, h)
		w.mu.Unlock()
		hands.Go(func() {
			for w.open.Err() == nil {
				h.steps++
				h.since.Store(time.Now().UnixNano())
				if err := step(h); err != nil {
					w.complain("%s: %v", name, err)
				}
				h.since.Store(0)
			}
		})
	}
}

// sequence is the number of the sequence of random numbers of a hand.
func sequence(slot, life, hand int) uint64 {
	return uint64(slot)<<48 | uint64(life)<<16 | uint64(hand) //nolint:gosec // none is negative
}

// odds is true once in n times.
func (h *hand) odds(n int) bool { return h.IntN(n) == 0 }

// some is from lo to hi.
func (h *hand) some(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(h.Int64N(int64(hi-lo)+1))
}

// rest lets a moment pass.
func (h *hand) rest() { pause(h.ctx, h.some(time.Millisecond, 20*time.Millisecond)) }

// count notes that something was done.
func (w *worker) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.did.Did == nil {
		w.did.Did = make(map[string]int64)
	}
	w.did.Did[what]++
}

// waited notes how long something took since.
func (w *worker) waited(what string, since time.Time) {
	took := time.Since(since)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.did.Waits == nil {
		w.did.Waits = make(map[string]*Times)
	}
	if w.did.Waits[what] == nil {
		w.did.Waits[what] = new(Times)
	}
	w.did.Waits[what].add(took)
}

func (w *worker) complain(format string, args ...any) {
	w.tell(message{Complaint: fmt.Sprintf(format, args...)})
}

func (w *worker) tell(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(m) // a parent that is gone ends the worker
}

// flush tells what has been done since the last time.
func (w *worker) flush() {
	w.mu.Lock()
	m := w.did
	w.did = message{}
	w.mu.Unlock()
	w.tell(m)
}

// report tells what is done, and who does not come back, until ctx ends.
func (w *worker) report(ctx context.Context) {
	stuck := make(map[*hand]int64)
	for ; ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		w.flush()
		w.mu.Lock()
		hands := w.hands
		w.mu.Unlock()
		for _, h := range hands {
			if since := h.since.Load(); since > 0 && since != stuck[h] && time.Since(time.Unix(0, since)) > 2*patience {
				stuck[h] = since
				w.complain("%s: one step has taken %v and is not done", h.name, 2*patience)
			}
		}
	}
}

// isLate reports whether an error says that something has ended before its time, or may have: a stopped process, a server
// that is restarted, a lease that is short.
func isLate(err error) bool {
	for _, e := range []error{pool.ErrNotHeld, pool.ErrExpired, pool.ErrLost, backend.ErrUnavailable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isRefusal reports whether an error says that there was nothing to be had.
func isRefusal(err error) bool {
	for _, e := range []error{pool.ErrExhausted, lock.ErrLocked} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refused says whether an acquisition got nothing for a reason that there may be, and counts it; else err is what is wrong.
func (h *hand) refused(ctx context.Context, err error) (bool, error) {
	switch {
	case err == nil:
		return false, nil
	case isRefusal(err):
		h.count(h.name + ": refused")
	case isLate(err):
		h.count(h.name + ": too late")
	case ctx.Err() != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		h.count(h.name + ": given up")
	default:
		return true, err
	}
	return true, nil
}

package stress

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/integration/internal/ends"
	"github.com/redisallocator/redisallocator/task"
)

// serve does tasks of all queues until ctx ends.
func (w *worker) serve(ctx context.Context) error {
	s := task.NewServer(w.be, w.tasks(), task.ServerConfig{Concurrency: 8, LeaseTTL: w.TTL, Mark: w.TTL})
	for i, name := range queueNames {
		if err := task.Serve(s, newQueue(w.be, w.tasks(), name), w.do, task.ServeConfig{Weight: i + 1}); err != nil {
			return err
		}
	}
	return s.Run(ctx)
}

// do is one attempt. It shows its fence to the ledger when it begins, and when it has done what it had to.
func (w *worker) do(ctx context.Context, t *task.Task[params]) (product, error) {
	p := t.Params()
	sort := sortOf(p.Sort)
	if sort == nil {
		w.complain("task %s: unknown sort %q", t.ID(), p.Sort)
		return product{}, task.Final(errBroken)
	}
	w.count("task: begun")
	if !w.shows(ctx, t, sort, begins) {
		return product{}, context.Cause(ctx)
	}
	switch sort.plan[min(t.Attempt(), len(sort.plan))-1] {
	case fails:
		return product{}, errBroken
	case fatal:
		return product{}, task.Final(errBroken)
	case crashes:
		os.Exit(poisoned)
	case endless:
		<-ctx.Done()
	case proceeds:
		for i := range int64(steps) {
			if err := t.Progress(i+1, steps, ""); err != nil && ctx.Err() == nil {
				w.complain("task %s: progress: %v", t.ID(), err)
			}
			pause(ctx, p.Takes/steps)
		}
	default:
		pause(ctx, p.Takes)
	}
	if ctx.Err() != nil || !w.shows(ctx, t, sort, applies) {
		return product{}, context.Cause(ctx)
	}
	return product{N: p.N, Fence: t.Fence()}, nil
}

// shows reports whether the ledger accepts an attempt. One that is refused must know that its time is over; but the news that
// its task was cancelled may still be on its way.
func (w *worker) shows(ctx context.Context, t *task.Task[params], sort *sort, what string) bool {
	verdict, newest, err := w.guard.attempt(w.ctx, t.ID(), what, t.Fence())
	switch {
	case err != nil:
		w.complain("task %s: ledger: %v", t.ID(), err)
	case verdict == accepted:
		return true
	case ctx.Err() != nil:
		w.count("task: too late")
	case verdict == refused:
		w.complain("task %s has two attempts: %q of attempt %d with fence %d, whose context goes on, and there is fence %d",
			t.ID(), what, t.Attempt(), t.Fence(), newest)
	case !sort.cancel:
		w.complain("task %s: %q of attempt %d with fence %d after its end", t.ID(), what, t.Attempt(), t.Fence())
	}
	return false
}

// submit has hands that have tasks done.
func (w *worker) submit(hands *sync.WaitGroup) {
	var queues []*queue
	for _, name := range queueNames {
		queues = append(queues, newQueue(w.be, w.tasks(), name))
	}
	w.begin(hands, "paused queue", 1, func(h *hand) error { return h.pauseQueue(queues[h.IntN(len(queues))]) })
	w.begin(hands, "task", 8, func(h *hand) error {
		sort := h.anySort()
		o := &order{
			hand: h, sort: sort, id: fmt.Sprintf("%s-%s-%d", h.id, sort.name, h.steps), queue: queues[h.IntN(len(queues))],
			params: params{Sort: sort.name, N: int64(h.Uint32()), Takes: h.some(0, 10*time.Millisecond)},
		}
		if err := o.place(); err != nil {
			return fmt.Errorf("%s: %w", o.id, err)
		}
		return nil
	})
}

// pauseQueue has a queue stand still for a moment, so that tasks wait, and are cancelled and expire while they do. Whoever dies
// over it leaves it to others to have it go on.
func (h *hand) pauseQueue(q *queue) error {
	pause(h.open, h.some(h.TTL/4, h.TTL))
	h.count("paused queue: paused")
	_, err := again(h.ctx, func() (struct{}, error) { return struct{}{}, q.Pause(h.ctx) })
	pause(h.open, h.some(10*time.Millisecond, h.TTL/4))
	_, resumed := again(h.ctx, func() (struct{}, error) { return struct{}{}, q.Resume(h.ctx) })
	return errors.Join(err, resumed)
}

// order is one task for whoever wants it done.
type order struct {
	*hand
	sort   *sort
	id     string
	queue  *queue
	params params
}

// told is what somebody was told of the end.
type told struct {
	got product
	err error
}

func (t told) String() string { return fmt.Sprintf("it has ended with %+v, %v", t.got, t.err) }

func (o *order) options() []task.Option {
	options := []task.Option{task.ID(o.id), []task.Class{task.Normal, task.Normal, task.High, task.Low}[o.IntN(4)]}
	if o.sort.options != nil {
		options = append(options, o.sort.options(o.TTL)...)
	}
	return options
}

// place has the task done: it is registered, submitted, and what is told of its end compared.
func (o *order) place() error {
	if err := o.guard.register(o.ctx, o.id, o.sort.name, o.params.N); err != nil {
		return err
	}
	o.count("task: " + o.sort.name)
	began, options := time.Now(), o.options()
	var end told
	if !o.sort.cancel && o.odds(2) {
		end.got, end.err = again(o.ctx, func() (product, error) { return o.queue.Query(o.ctx, o.params, options...) })
		if err := o.guard.ack(o.ctx, o.id); err != nil {
			return err
		}
	} else {
		h, err := again(o.ctx, func() (*task.Handle[product], error) { return o.queue.Submit(o.ctx, o.params, options...) })
		if err != nil {
			return err
		}
		if err := o.guard.ack(o.ctx, o.id); err != nil {
			return err
		}
		if gone, err := o.follow(h, options, &end); gone || err != nil {
			return errors.Join(err, o.guard.note(o.ctx, o.id, "left", "1"))
		}
	}
	if o.sort.name == "plain" {
		o.waited("task", began)
	}
	state := ends.Of(end.err)
	if err := o.guard.note(o.ctx, o.id, "told", state.String()); err != nil {
		return err
	}
	if err := o.guard.note(o.ctx, o.id, "left", "1"); err != nil {
		return err
	}
	if !slices.Contains(o.sort.ends, state) || state == task.Done && end.got.N != o.params.N {
		return errors.New(end.String())
	}
	return nil
}

// follow goes after a task that was submitted, until its end, unless it goes away.
func (o *order) follow(h *task.Handle[product], options []task.Option, end *told) (gone bool, err error) {
	if o.odds(10) {
		other := o.params
		other.N++
		_, err := again(o.ctx, func() (*task.Handle[product], error) { return o.queue.Submit(o.ctx, other, options...) })
		if !errors.Is(err, task.ErrConflict) {
			return false, fmt.Errorf("another task was submitted under its id: %w", err)
		}
	}
	if !o.sort.cancel && o.odds(10) {
		o.count("task: left alone")
		return true, nil
	}
	second := make(chan told, 1)
	twice := o.odds(4)
	if twice { // a second one has the same task done
		go func() {
			var t told
			t.got, t.err = again(o.ctx, func() (product, error) { return o.queue.Query(o.ctx, o.params, options...) })
			second <- t
		}()
	}
	if o.sort.cancel {
		o.rest()
		_, err := again(o.ctx, func() (struct{}, error) { return struct{}{}, h.Cancel(o.ctx) })
		if err != nil && !errors.Is(err, task.ErrEnded) { // which the answer may have been that was lost
			return false, fmt.Errorf("cancel: %w", err)
		}
	}
	if o.sort.name == "proceeding" {
		for p, err := range h.Progress(o.ctx) {
			if err == nil && (p.Current < 0 || p.Current > steps) {
				return false, fmt.Errorf("progress: %+v", p)
			}
		}
	}
	end.got, end.err = again(o.ctx, func() (product, error) { return h.Wait(o.ctx) })
	if twice {
		if t := <-second; t.got != end.got || ends.Of(t.err) != ends.Of(end.err) {
			return false, fmt.Errorf("%v, but somebody else was told: %v", end, t)
		}
	}
	return false, nil
}

// again does something as long as the store is away.
func again[T any](ctx context.Context, do func() (T, error)) (T, error) {
	for {
		got, err := do()
		if !errors.Is(err, backend.ErrUnavailable) || ctx.Err() != nil {
			return got, err
		}
		pause(ctx, 20*time.Millisecond)
	}
}

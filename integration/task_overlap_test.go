package integration

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// TestWorkerBehindABlackHoleEndsFirst cuts workers off, without a word, right after they have begun a task or renewed their
// lease on it. The context of each handler has ended before the server gives its task to another.
func TestWorkerBehindABlackHoleEndsFirst(t *testing.T) {
	t.Parallel()
	const ttl = 1500 * time.Millisecond // with a margin of 30 ms
	d := darkness{ttl: ttl, late: func(err error) bool { return errors.Is(err, backend.ErrUnavailable) }, open: func(
		_ context.Context, i int, far, near *rueidis.Backend, ns backend.Namespace,
	) (*stake, error) {
		ours := newCrew(&asked{Backend: far}, ns, task.ServerConfig{LeaseTTL: ttl, Drain: -1})
		theirs := newCrew(&asked{Backend: near}, ns, task.ServerConfig{LeaseTTL: time.Minute})
		q := newJobs(near, ns, task.ServerConfig{})
		var second holder
		return &stake{
			take: func(ctx context.Context) (holder, error) {
				if _, err := q.Submit(ctx, job{}, task.ID("m")); err != nil {
					return nil, err
				}
				return ours.listen(ctx)
			},
			next: func(ctx context.Context) (_ holder, err error) {
				second, err = theirs.listen(ctx)
				return second, err
			},
			giveBack: func(ctx context.Context, h holder) error {
				if h.Valid() && h != second { // the whole server ends, so that it does not take the task again
					ours.cancel()
				}
				return h.(*shift).end(ctx)
			},
			speak: func(ctx context.Context) error {
				_, err := far.Stats(ctx, backend.StatsRequest{Namespace: ns, Queue: "jobs"})
				return err
			},
			owner: func(ctx context.Context) (string, error) {
				reply, err := insist(ctx, func() (backend.RenewReply, error) {
					return near.RenewTasks(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
						{Member: "m", Token: second.Token(), TTL: time.Minute},
					}})
				})
				if err != nil || !reply.Renewed[0] {
					return "", err
				}
				return second.Token(), nil
			},
			close: func() {
				ours.close()
				theirs.close()
			},
		}, nil
	}}
	d.check(t)
}

// asked notes until when a lease lasts of which the store has been asked for.
type asked struct {
	*rueidis.Backend

	mu    sync.Mutex
	until time.Time
}

func (a *asked) note(sent time.Time, ttl time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until = sent.Add(ttl)
}

func (a *asked) Fetch(ctx context.Context, req backend.FetchRequest) (backend.FetchReply, error) {
	sent := time.Now()
	reply, err := a.Backend.Fetch(ctx, req)
	if err == nil && len(reply.Tasks) > 0 {
		a.note(sent, req.TTL)
	}
	return reply, err
}

func (a *asked) RenewTasks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error) {
	sent := time.Now()
	reply, err := a.Backend.RenewTasks(ctx, req)
	if err == nil && reply.Renewed[0] {
		a.note(sent, req.Items[0].TTL)
	}
	return reply, err
}

// crew serves a queue with one task.
type crew struct {
	be     *asked
	q      *jobs
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	began  chan *shift
	token  string // of the lease, from the event that comes before the handler
	ends   chan error
}

// shift is an attempt at the task, seen from its handler.
type shift struct {
	c       *crew
	ctx     context.Context
	fence   int64
	token   string
	leaves  func()
	over    chan struct{} // closed when a look has found that it is over
	lastly  time.Time     // then: when the last look began that found it valid
	outcome func() error
}

func newCrew(be *asked, ns backend.Namespace, cfg task.ServerConfig) *crew {
	c := &crew{be: be, done: make(chan struct{}), began: make(chan *shift, 1), ends: make(chan error, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	cfg.Concurrency, cfg.Observer = 1, c
	c.q = newJobs(be, ns, cfg)
	return c
}

// Observe learns the token of the lease, and how the attempt has ended.
func (c *crew) Observe(e backend.Event) {
	if e.Kind == backend.EventStarted {
		c.token = e.Token
		return
	}
	err := e.Err
	if errors.Is(err, task.ErrLost) {
		err = pool.ErrNotHeld
	}
	select {
	case c.ends <- err:
	default:
	}
}

// listen takes the task.
func (c *crew) listen(ctx context.Context) (*shift, error) {
	go func() {
		defer close(c.done)
		_ = c.q.Listen(c.ctx, c.do)
	}()
	select {
	case s := <-c.began:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *crew) do(ctx context.Context, t *task.Task[job]) (product, error) {
	left := make(chan struct{})
	s := &shift{
		c: c, ctx: ctx, fence: t.Fence(), token: c.token, leaves: sync.OnceFunc(func() { close(left) }), over: make(chan struct{}),
		outcome: sync.OnceValue(func() error { return <-c.ends }),
	}
	go s.look()
	select {
	case c.began <- s:
	default: // it has taken the task again, after its end
	}
	select {
	case <-left:
	case <-ctx.Done():
	case <-c.ctx.Done():
		<-ctx.Done()
	}
	return product{}, context.Cause(ctx)
}

// look looks all the time whether it is valid.
func (s *shift) look() {
	defer close(s.over)
	for at := time.Now(); s.ctx.Err() == nil; at = time.Now() {
		s.lastly = at
		pause(context.Background(), 2*time.Millisecond)
	}
}

func (s *shift) Valid() bool              { return s.ctx.Err() == nil }
func (s *shift) Context() context.Context { return s.ctx }
func (s *shift) Fence() int64             { return s.fence }
func (s *shift) Token() string            { return s.token }

// Deadline is when it would end, as far as can be seen from outside, or when it was last seen to be valid.
func (s *shift) Deadline() time.Time {
	select {
	case <-s.over:
		return s.lastly
	default:
		s.c.be.mu.Lock()
		defer s.c.be.mu.Unlock()
		return s.c.be.until
	}
}

// end has the handler return, and tells what became of that.
func (s *shift) end(ctx context.Context) error {
	s.leaves()
	told := begin(func() (struct{}, error) { return struct{}{}, s.outcome() })
	select {
	case o := <-told:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *crew) close() {
	c.cancel()
	<-c.done
}

package task

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// Defaults of a [ServerConfig].
const (
	DefaultConcurrency = 16
	DefaultLeaseTTL    = 10 * time.Second
	DefaultDrain       = 30 * time.Second
	DefaultMark        = 15 * time.Second
)

// ServerConfig describes a [Server]. The zero value is a good one.
type ServerConfig struct {
	// Concurrency is how many handlers run at once, of all queues together. Default 16.
	Concurrency int

	// Strict serves the queues in the order in which they were added: one that has tasks goes before all that come after it. Otherwise
	// each gets its share by its weight; see [ServeConfig].
	Strict bool

	// LeaseTTL is for how long a task is taken. It is renewed in the background, each third of it. A worker that dies keeps its
	// tasks for that long, and one that cannot reach the store loses them then. Default 10 seconds.
	LeaseTTL time.Duration

	// Drain is how long a server that is to end waits for the handlers that run. Then their contexts end, and their tasks
	// go back to their queues. Default 30 seconds; negative: not at all.
	Drain time.Duration

	// Mark is for how long the server counts as a listener without saying so again: Auto finds out after that time, at the
	// latest, that it has died. Default 15 seconds.
	Mark time.Duration

	// Observer, if not nil, is told what happens to tasks. Event.Member is the task's id.
	Observer backend.Observer

	// Logger is where trouble is reported. Default nil: that of the queue.
	Logger *slog.Logger
}

// ServeConfig says how a [Server] serves one queue. The zero value is a good one.
type ServeConfig struct {
	// Concurrency is how many handlers of this queue run at once, within that of the server. Default: as many as there.
	Concurrency int

	// Weight is the share of this queue among those that have tasks, 1 to 1000; without effect if the server is Strict. Default 1.
	Weight int

	// StrictClasses serves the priority classes of the queue in their order: while there is a High task, no Normal one is begun.
	// Otherwise they get shares of 6 to 3 to 1, so that none of them starves.
	StrictClasses bool

	// MaxParked is how many tasks may wait for a resource at once, see [WithLease], besides those that run. Default: as
	// many as Concurrency.
	MaxParked int
}

// Server serves several queues of one namespace with one set of workers. Add queues with [Serve], then call Run.
type Server struct {
	be     Backend
	ns     backend.Namespace
	cfg    ServerConfig
	broken error // what is wrong with the arguments

	// What follows is set when Run begins.
	planner  *planner
	group    *lease.Group
	base     context.Context // of all attempts: the values of that of Run
	reports  context.Context // of what is still said about them; it ends when nobody waits for that any longer
	listener string
	logger   *slog.Logger

	mu     sync.Mutex
	phase  phase
	queues []*served

	places  places
	workers []*worker     // that have nothing to do
	live    []*attempt    // those whose end has not been told; a list, because hardly one is ever looked for
	busy    int           // how many they are, and how many calls are under way besides
	signal  chan struct{} // has room for one: the dispatcher should look again
}

type phase uint8

const (
	before phase = iota
	serving
	draining
	after
)

// served is one queue of a server.
type served struct {
	*core
	cfg      ServeConfig
	index    int
	do       func(ctx context.Context, r *run) ([]byte, error)
	logger   *slog.Logger
	observer backend.Observer

	running, parked int  // tasks
	promised        int  // places that the Fetch under way may fill
	idle            bool // the store will wake us for a task
}

// ServerStats is what a server does at the moment.
type ServerStats struct {
	Running int // handlers that run, those below among them
	Stuck   int // handlers that go on although their context has ended long ago
	Parked  int // tasks that wait for a resource, without occupying a worker
}

// NewServer gives a server without queues. It sends nothing. If something is wrong with its arguments, Serve and Run tell so with
// an error that matches backend.ErrInvalid.
func NewServer(be Backend, ns backend.Namespace, cfg ServerConfig) *Server {
	s := &Server{be: be, ns: ns, cfg: cfg, signal: make(chan struct{}, 1)}
	s.broken = cmp.Or(s.cfg.complete(), ns.Validate())
	if be == nil {
		s.broken = invalid("backend", "nil", "must not be nil")
	}
	return s
}

// complete sets defaults, and tells what is wrong.
func (c *ServerConfig) complete() error {
	c.Concurrency = cmp.Or(c.Concurrency, DefaultConcurrency)
	c.LeaseTTL = cmp.Or(c.LeaseTTL, DefaultLeaseTTL)
	c.Drain = cmp.Or(c.Drain, DefaultDrain)
	c.Mark = cmp.Or(c.Mark, DefaultMark)
	if c.Concurrency < 0 {
		return invalid("concurrency", strconv.Itoa(c.Concurrency), "must be positive")
	}
	return cmp.Or(checkSpan("lease TTL", c.LeaseTTL, false), checkSpan("mark", c.Mark, false))
}

// complete sets defaults, and tells what is wrong.
func (c *ServeConfig) complete(server *ServerConfig) error {
	c.Concurrency = min(cmp.Or(c.Concurrency, server.Concurrency), server.Concurrency)
	c.Weight = cmp.Or(c.Weight, 1)
	c.MaxParked = cmp.Or(c.MaxParked, c.Concurrency)
	const heaviest = 1000
	switch {
	case c.Concurrency < 0:
		return invalid("concurrency", strconv.Itoa(c.Concurrency), "must be positive")
	case c.Weight < 0 || c.Weight > heaviest:
		return invalid("weight", strconv.Itoa(c.Weight), "must be 1 to "+strconv.Itoa(heaviest))
	case c.MaxParked < 0:
		return invalid("parked", strconv.Itoa(c.MaxParked), "must be positive")
	}
	return nil
}

// Serve has s serve q with h. It fails if q is of another namespace or backend, if s serves a queue of that name already or 85
// of them, which is as many as it can, and if s runs.
func Serve[P, R any](s *Server, q *Queue[P, R], h Handler[P, R], cfg ServeConfig) error {
	if h == nil {
		return fail("serve", q.name, invalid("handler", "nil", "must not be nil"))
	}
	return fail("serve", q.name, s.add(&q.core, q.serve(h), cfg))
}

// serve gives h without its types.
func (q *Queue[P, R]) serve(h Handler[P, R]) func(ctx context.Context, r *run) ([]byte, error) {
	return func(ctx context.Context, r *run) ([]byte, error) {
		t := &Task[P]{run: r}
		if err := q.decodeParams(&r.info, &t.params); err != nil {
			return nil, &payloadError{err}
		}
		r.decoded = true
		res, err := h(ctx, t)
		if err != nil {
			return nil, err
		}
		data, err := q.cfg.encode("result", res)
		if err != nil {
			return nil, &resultError{err}
		}
		return data, nil
	}
}

func (s *Server) add(q *core, do func(ctx context.Context, r *run) ([]byte, error), cfg ServeConfig) error {
	if err := cmp.Or(s.broken, q.broken, cfg.complete(&s.cfg)); err != nil {
		return err
	}
	switch {
	case q.ns != s.ns:
		return invalid("queue", q.name, "is of another namespace")
	case !same(q.be, s.be):
		return invalid("queue", q.name, "is of another backend")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != before {
		return invalid("server", "running", "takes no more queues")
	}
	if len(s.queues) == maxServed {
		return invalid("queue", q.name, "is one too many: "+strconv.Itoa(maxServed)+" are possible")
	}
	for _, other := range s.queues {
		if other.name == q.name {
			return invalid("queue", q.name, "is served already")
		}
	}
	added := &served{core: q, cfg: cfg, index: len(s.queues), do: do, logger: s.cfg.Logger, observer: s.cfg.Observer}
	if added.logger == nil {
		added.logger = q.cfg.Logger
	}
	if added.observer == nil {
		added.observer = q.cfg.Observer
	}
	s.queues = append(s.queues, added)
	return nil
}

// same reports whether two backends are one, as far as can be told.
func same(a, b Backend) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	return !reflect.ValueOf(a).Comparable() || a == b
}

// Run serves until ctx ends, drains, and returns nil; see [Queue.Listen]. It can be called once. Trouble with the store is
// survived and logged, but for an error that will not pass: the backend was closed, or its store cannot do this.
//
// While it drains the server does not listen any more, and what waits for a resource goes back at once. When [ServerConfig].Drain
// is over the contexts of the handlers end with [ErrDrained]: who returns a result then has done the task, any other task goes back
// to its queue. A handler that does not return within a second is left behind.
func (s *Server) Run(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	reports, cancel := context.WithCancel(s.base)
	defer cancel()
	s.reports = reports
	s.group = lease.KeepTasks(s.be, lease.Config{Namespace: s.ns, OnLost: onLost, Logger: s.logger})
	defer s.group.Close()
	defer s.dismiss()
	d := newDispatcher(s)
	err := d.serve(ctx)
	d.drain(cancel)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// begin makes s run, if it can.
func (s *Server) begin(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return s.broken
	case s.phase != before:
		return invalid("server", "used", "runs only once")
	case len(s.queues) == 0:
		return invalid("server", "empty", "has no queues")
	}
	s.phase = serving
	s.base = context.WithoutCancel(ctx)
	s.listener = backend.NewToken()
	s.logger = s.queues[0].logger
	cfgs := make([]ServeConfig, len(s.queues))
	for i, q := range s.queues {
		cfgs[i] = q.cfg
	}
	s.planner = newPlanner(s.cfg.Strict, cfgs)
	s.places.all = s.cfg.Concurrency
	return nil
}

// Stats tells what the server does at the moment. It sends nothing.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ServerStats{Running: s.places.running + s.places.parked, Stuck: s.places.stuck, Parked: s.places.parked}
}

package task

import (
	"context"
	"log/slog"
	"time"

	"github.com/redisallocator/redisallocator/backend"
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

	// Mark is for how long the server counts as a listener without saying so again: Auto finds out after that time, at the latest, that it has
	// died. Default 15 seconds.
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
	be  Backend
	ns  backend.Namespace
	cfg ServerConfig
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
	return &Server{be: be, ns: ns, cfg: cfg}
}

// Serve has s serve q with h. It fails if q is of another namespace or backend, if s serves a queue of that name already, and if
// s runs.
func Serve[P, R any](s *Server, q *Queue[P, R], h Handler[P, R], cfg ServeConfig) error {
	return backend.ErrUnsupported
}

// Run serves until ctx ends, drains, and returns nil; see [Queue.Listen]. It can be called once.
func (s *Server) Run(ctx context.Context) error { return backend.ErrUnsupported }

// Stats tells what the server does at the moment. It sends nothing.
func (s *Server) Stats() ServerStats { return ServerStats{} }

package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// Redlock locks names on several servers that know nothing of each other: who has a name on a quorum of them, by default
// more than half, has it. It goes on working when a minority of the servers is down, hangs or has lost its
// data. It is safe for concurrent use, and for any number of names.
//
// It is the algorithm that Redis describes under https://redis.io/docs/latest/develop/use/patterns/distributed-locks/.
// All servers are asked at once, with the same random token; each of them has [RedlockConfig.ServerTimeout] to answer.
// The lock counts if a quorum grants it while it is still valid: for the TTL, less the drift, from the moment before
// the first request was sent, by the local monotonic clock. If it does not count it is given back on all servers.
//
// # What it does not promise
//
// Two clients may believe that they hold the same lock, at the same time, when
//
//   - a client is stopped (by a page fault, a debugger, SIGSTOP, a suspended virtual machine) between looking whether it
//     still holds the lock and using what it protects. No lock that ends by itself can prevent that;
//   - the clock of a server jumps or runs fast: what it granted then ends early there. The drift covers some
//     percent between good clocks, no jump. Have clocks slewed, not stepped;
//   - a server restarts without its data and grants again what it had granted before. Run them with appendonly yes and
//     appendfsync always, or keep a server that came back without data out for as long as the longest TTL;
//   - a server is one with replicas and fails over to one that the lock has not reached. Give each server here no
//     replicas, or none that is promoted.
//
// Fencing numbers are the remedy for all of these, but a Redlock has none: the servers count each for itself, so that
// no number is sure to grow from one holder to the next. Martin Kleppmann, "How to do distributed locking" (2016,
// https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html) explains the failures and the fences;
// Salvatore Sanfilippo, who designed Redlock, answers in "Is Redlock safe?" (2016, http://antirez.com/news/101).
//
// So: where a second holder does damage, have what is protected refuse old fences, and take a [Mutex], whose holders have
// them, on one server that keeps its data. A Redlock is for work that merely should not be done twice, and that has to
// go on while any one server is away. It is not fair: who waits tries again, see [RedlockConfig]. Nor is it reentrant:
// who holds a lock and asks for it again is refused.
//
// # Goroutines
//
// Calls return as soon as the outcome is certain. What then remains to be done, such as giving back what a slow server
// granted too late, goes on in the background; [Redlock.Close] waits for it.
type Redlock struct {
	ns        backend.Namespace
	cfg       RedlockConfig
	servers   []*redlockServer
	tokenText string
	closing   chan struct{} // closed by Close

	mu      sync.Mutex
	idle    sync.Cond // running is 0
	running int       // goroutines, and calls that may start some
	closed  bool
	held    map[*RedlockHeld]struct{}
}

// RedlockBackend is what a [Redlock] needs of each of its servers; every backend.Backend has it.
type RedlockBackend interface {
	Lock(ctx context.Context, req backend.LockRequest) (backend.LockReply, error)
	Unlock(ctx context.Context, req backend.UnlockRequest) (backend.UnlockReply, error)
	RenewLocks(ctx context.Context, req backend.RenewRequest) (backend.RenewReply, error)
}

// NewRedlock gives a Redlock over servers that stay the caller's, in a namespace that is the same on all of them. The
// error matches backend.ErrInvalid if there are no servers, one is nil or there twice, or if the configuration cannot
// be, such as a quorum of more servers than there are or of no more than half of them. It sends nothing.
func NewRedlock(servers []RedlockBackend, ns backend.Namespace, cfg RedlockConfig) (*Redlock, error) {
	err := checkServers(servers)
	if err == nil {
		err = ns.Validate()
	}
	if err == nil {
		err = cfg.complete(len(servers))
	}
	if err != nil {
		return nil, fmt.Errorf("redlock: %w", err)
	}
	r := &Redlock{ns: ns, cfg: cfg, closing: make(chan struct{}), held: make(map[*RedlockHeld]struct{})}
	r.tokenText = tokenText(cfg.Info)
	r.idle.L = &r.mu
	for i, be := range servers {
		r.servers = append(r.servers, &redlockServer{r: r, be: be, index: i, name: serverName(cfg.Names, i)})
	}
	return r, nil
}

// TryLock tries once to lock a name. It takes one round trip to the server that completes the quorum; if it fails, one
// more to those that had granted. Servers that hang delay it by no more than the server timeout, and only if the others
// are no quorum.
//
// If it fails the error is a [RedlockError], which matches [ErrLocked] or [ErrNoQuorum]; or it matches
// backend.ErrInvalid (nothing was sent), backend.ErrClosed or the error of ctx. Whatever was granted is given back,
// also that which was granted too late; in the background if ctx is over. The context of the handle derives from ctx.
func (r *Redlock) TryLock(ctx context.Context, name string) (*RedlockHeld, error) {
	if err := r.begin("lock", name); err != nil {
		return nil, err
	}
	defer r.finish()
	since := time.Now()
	held, err := r.try(ctx, name, since)
	if errors.Is(err, ErrLocked) {
		r.observe(backend.Event{Kind: backend.EventExhausted, Member: name, Duration: time.Since(since), Err: err})
	}
	return held, err
}

// Lock is TryLock again and again, as often and with such pauses as [RedlockConfig] says, until ctx ends. When ctx ends
// the error matches that of ctx and that of the last try.
func (r *Redlock) Lock(ctx context.Context, name string) (*RedlockHeld, error) {
	if err := r.begin("lock", name); err != nil {
		return nil, err
	}
	defer r.finish()
	since := time.Now()
	held, err := r.lock(ctx, name, since)
	if err != nil && (ctx.Err() != nil || errors.Is(err, ErrLocked) || errors.Is(err, backend.ErrClosed)) {
		r.observe(backend.Event{Kind: backend.EventCancelled, Member: name, Duration: time.Since(since), Err: err})
	}
	return held, err
}

func (r *Redlock) lock(ctx context.Context, name string, since time.Time) (*RedlockHeld, error) {
	for tries := 1; ; tries++ {
		held, err := r.try(ctx, name, since)
		if err == nil || tries == r.cfg.Tries || !errors.As(err, new(*RedlockError)) {
			return held, err
		}
		if stop := r.rest(ctx); stop != nil {
			return nil, fmt.Errorf("lock %.100q: %w (%w)", name, stop, err)
		}
	}
}

// rest waits before the next try, for anything from a half to one and a half of the delay. The error is why there
// will be none.
func (r *Redlock) rest(ctx context.Context) error {
	t := time.NewTimer(r.cfg.RetryDelay/2 + rand.N(r.cfg.RetryDelay))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closing:
		return backend.ErrClosed
	}
}

// Do locks name as Lock does, calls f with the context of the lock, and unlocks, also if f panics. It gives f's error,
// joined with that of Unlock: [ErrNotHeld] if the lock was lost meanwhile.
func (r *Redlock) Do(ctx context.Context, name string, f func(ctx context.Context) error) (err error) {
	held, err := r.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = and(err, held.Unlock(ctx)) }()
	return f(held.Context())
}

// Close ends all locks that are held: they are not renewed any more, and their contexts end with an error that matches
// backend.ErrClosed. They are not given back, but those who hold them may still do so. Calls that lock end with
// backend.ErrClosed. Close waits for what runs in the background, a few server timeouts at most; what servers
// that cannot be reached have still to be given back is left to the TTL. The servers are not closed. Close again does
// nothing.
func (r *Redlock) Close() {
	r.mu.Lock()
	var ended []*RedlockHeld
	if !r.closed {
		r.closed = true
		close(r.closing)
		for h := range r.held {
			ended = append(ended, h)
		}
	}
	r.mu.Unlock()
	for _, h := range ended {
		h.end(errRedlockClosed)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.running > 0 {
		r.idle.Wait()
	}
}

var errRedlockClosed = fmt.Errorf("redlock: %w", backend.ErrClosed)

// begin starts a call that takes a name, unless that cannot be.
func (r *Redlock) begin(op, name string) error {
	if err := backend.ValidateName(name); err != nil {
		return fmt.Errorf("%s %.100q: %w", op, name, err)
	}
	if !r.enter() {
		return fmt.Errorf("%s %.100q: %w", op, name, backend.ErrClosed)
	}
	return nil
}

// enter keeps Close waiting until finish. It fails after Close.
func (r *Redlock) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.running++
	}
	return !r.closed
}

func (r *Redlock) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running--; r.running == 0 {
		r.idle.Broadcast()
	}
}

// start runs f in the background.
func (r *Redlock) start(f func()) {
	r.mu.Lock()
	r.running++
	r.mu.Unlock()
	go func() {
		defer r.finish()
		f()
	}()
}

func (r *Redlock) isClosed() bool {
	select {
	case <-r.closing:
		return true
	default:
		return false
	}
}

// observe tells the observer.
func (r *Redlock) observe(e backend.Event) {
	e.Namespace = r.ns
	lease.Observe(r.cfg.Observer, r.cfg.Logger, e)
}

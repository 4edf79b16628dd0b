package lease

import (
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Config describes one user of a keeper.
type Config struct {
	Namespace backend.Namespace

	// OnLost, if set, is told of each lease that ended without its holder: why is ErrLost or ErrExpired. It is
	// called on whichever goroutine found out, must not block and must not call back.
	OnLost func(h *Hold, why error)

	// OnReturned, if set, is told of each lease that was given back in the background.
	OnReturned func(h *Hold)

	// Logger is where trouble with renewing goes. Nil: nowhere.
	Logger *slog.Logger
}

// Group is the leases that one user holds in one namespace of a backend. Its methods may be called concurrently.
type Group struct {
	k    *keeper
	lane *lane
	cfg  Config
	done chan struct{} // closed by Close

	live   int // leases that have not ended; guarded by k.mu, as is closed
	closed bool
}

// Keep gives a Group for leases on members of a pool. Its keeper is the same for all groups, of whatever kind, of the same
// backend value and lives until the last of them is closed. The namespace must be valid.
func Keep(be Members, cfg Config) *Group { return keep(be, members{be}, cfg) }

// KeepLocks is Keep for leases on names.
func KeepLocks(be Names, cfg Config) *Group { return keep(be, names{be}, cfg) }

// KeepTasks is Keep for leases on running tasks. Giving one back puts the task back into its queue.
func KeepTasks(be Tasks, cfg Config) *Group { return keep(be, tasks{be}, cfg) }

func keep(be any, st store, cfg Config) *Group {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Group{k: keepers.get(be), cfg: cfg, done: make(chan struct{})}
	g.k.mu.Lock()
	g.lane = g.k.lane(cfg.Namespace, st)
	g.lane.groups++
	g.k.mu.Unlock()
	return g
}

// Now is the time of the keeper's clock.
func (g *Group) Now() Instant { return g.k.now() }

// At gives a moment that was read from the monotonic clock.
func (g *Group) At(t time.Time) Instant { return g.k.instant(t) }

// Closed is closed when Close was called.
func (g *Group) Closed() <-chan struct{} { return g.done }

// Busy reports whether there is a lease that has not ended, or something is still to be given back in the background.
func (g *Group) Busy() bool {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	if g.live > 0 || g.lane.tidying.workers > 0 {
		return true
	}
	for i := range g.lane.chores {
		if g.lane.chores[i].g == g {
			return true
		}
	}
	return false
}

// Close ends all leases of the group: they are not renewed any more, and their contexts end with an error that
// matches [backend.ErrClosed]. Nothing is given back, and what was to be given back in the background is not; those
// who have a Hold may still release it. Waits end. If no other group uses the keeper, Close waits for its goroutines.
// Close again does nothing.
func (g *Group) Close() {
	k := g.k
	k.mu.Lock()
	if g.closed {
		k.mu.Unlock()
		return
	}
	g.closed = true
	close(g.done)
	var ended []*Hold
	k.all(func(h *Hold) {
		if h.group == g && k.end(h, closed) {
			ended = append(ended, h)
		}
	})
	g.lane.forget(g)
	if g.lane.groups--; g.lane.groups == 0 {
		delete(k.lanes, g.lane.key())
	}
	k.mu.Unlock()
	for _, h := range ended {
		h.tell(closed)
	}
	keepers.put(k)
}

// registry finds the keeper of a backend.
type registry struct {
	mu    sync.Mutex
	byKey map[any]*keeper
}

var keepers = registry{byKey: make(map[any]*keeper)}

func (r *registry) get(be any) *keeper {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A backend may be a struct that cannot be compared. Then every group has a keeper of its own.
	if !reflect.ValueOf(be).Comparable() {
		return newKeeper(be)
	}
	k := r.byKey[be]
	if k == nil {
		k = newKeeper(be)
		k.key = be
		r.byKey[be] = k
	}
	k.users++
	return k
}

func (r *registry) put(k *keeper) {
	r.mu.Lock()
	k.users--
	last := k.users <= 0
	if last && k.key != nil {
		delete(r.byKey, k.key)
	}
	r.mu.Unlock()
	if last {
		k.close()
	}
}

// watchStore has every lease renewed as soon as the store is back.
func (k *keeper) watchStore() (stop func()) {
	if r, ok := k.be.(backend.Reconnector); ok {
		return r.OnReconnect(k.reconnected)
	}
	return func() {}
}

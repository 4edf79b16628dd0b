package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// HeartbeatConfig configures a [Heartbeat]. The zero value is a good one.
type HeartbeatConfig struct {
	// TTL is for how long a member counts as alive after its last beat. It beats three times in that time. At least a
	// millisecond, and not backend.NoExpiry. All processes should have the same: ages are computed with it. Default
	// [DefaultTTL].
	TTL time.Duration

	// Info is free text that others can read while a member is alive: where it can be reached, say. UTF-8 without
	// control characters, at most MaxInfo bytes.
	Info string

	// Logger is where beats without an answer, and members that are taken for dead, are reported. Default nil: nowhere.
	Logger *slog.Logger
}

// Heartbeat is a set of members of which everybody knows who is alive: Python's RedisThreadHealthCheckPool (with suffix
// "thread-health-check-pool" there), on the same keys. A member is in the set, and is alive while the lock with its name
// is there; so a [Pool] of the same namespace shows the same.
//
// It is safe for concurrent use and holds nothing that must be closed; what [Heartbeat.Join] gives has to be left.
type Heartbeat struct {
	pool *Pool
	cfg  HeartbeatConfig
	err  error // what is wrong with the configuration; each call gives it
}

// NewHeartbeat gives the members of a namespace. It sends nothing. What is wrong with its arguments is said by each
// call.
func NewHeartbeat(be PoolBackend, ns backend.Namespace, cfg HeartbeatConfig) *Heartbeat {
	b := &Heartbeat{pool: NewPool(be, ns), cfg: cfg}
	b.cfg.TTL = cmp.Or(cfg.TTL, DefaultTTL)
	b.err = checkInfo(cfg.Info)
	if b.cfg.TTL < time.Millisecond {
		b.err = errors.Join(b.err, invalid("ttl", b.cfg.TTL.String(), "must be at least a millisecond"))
	}
	return b
}

// Living is a member that is alive.
type Living struct {
	ID string

	// Holder is who beats, as far as its last beat says: host, process, since when, and HeartbeatConfig.Info. Of one
	// that Python wrote there is only the token, "1". TTL is for how long it counts as alive without another beat.
	Holder Holder

	// Age is the time since the last beat, if that had the TTL of this Heartbeat; 0 if the member never ends.
	Age time.Duration
}

// Living lists who is alive, in the order of their ids. One round trip for each backend.BatchLimit members, dead ones
// included; up to so many are seen as they were at one moment.
func (b *Heartbeat) Living(ctx context.Context) ([]Living, error) {
	var living []Living
	err := b.each(ctx, func(s KeyState) {
		if s.Locked {
			living = append(living, b.living(s))
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(living, func(x, y Living) int { return cmp.Compare(x.ID, y.ID) })
	return living, nil
}

func (b *Heartbeat) living(s KeyState) Living {
	l := Living{ID: s.Name}
	l.Holder, _ = ParseHolder(s.Value)
	if l.Holder.TTL = s.TTL; s.TTL != backend.NoExpiry {
		l.Age = max(b.cfg.TTL-s.TTL, 0)
	}
	return l
}

// Prune takes the dead out of the set and gives their ids. Somebody has to do it from time to time, where members die
// without leaving; that several do does no harm. One round trip for each backend.BatchLimit members, and two or three
// for as many that are dead.
func (b *Heartbeat) Prune(ctx context.Context) ([]string, error) {
	var dead, gone []string
	err := b.each(ctx, func(s KeyState) {
		if !s.Locked {
			dead = append(dead, s.Name)
		}
	})
	if err != nil {
		return nil, err
	}
	for ids := range slices.Chunk(dead, backend.BatchLimit) {
		removed, err := b.drop(ctx, ids)
		if gone = append(gone, removed...); err != nil {
			return gone, fmt.Errorf("prune: %w", err)
		}
	}
	return gone, nil
}

// each shows all members.
func (b *Heartbeat) each(ctx context.Context, see func(KeyState)) error {
	if b.err != nil {
		return fmt.Errorf("look at members: %w", b.err)
	}
	for s, err := range b.pool.States(ctx) {
		if err != nil {
			return err
		}
		see(s)
	}
	return nil
}

// drop takes dead members out of the set and gives those that it took out. Whoever joins under one of these ids at the same
// time first is alive and then enters the set: either we see that he is alive, and have him enter again, or he enters
// after we took the id out.
func (b *Heartbeat) drop(ctx context.Context, ids []string) (gone []string, err error) {
	if _, err := b.pool.Shrink(ctx, ids); err != nil {
		return nil, err
	}
	states, err := b.pool.keys.look(ctx, ids)
	if err != nil {
		return nil, err
	}
	var back []string
	for _, s := range states {
		if s.Locked {
			back = append(back, s.Name)
		} else {
			gone = append(gone, s.Name)
		}
	}
	if len(back) > 0 {
		_, err = b.pool.Extend(ctx, back)
	}
	return gone, err
}

// newID names this member of this process.
func newID() string { return hostName() + "/" + strconv.Itoa(os.Getpid()) + "/" + backend.NewToken() }

// Join makes a member that is alive until it leaves, and beats for it in the background. An empty id is replaced by
// one of its own: host, process id and a random part. Whoever was alive under the same id counts as dead from now on, so
// that a process that was started anew need not wait for its predecessor's end; two that live with one id
// at the same time are a mistake, of which the older one is told.
//
// The context of the member derives from ctx. Two round trips, and then one for each beat, which is shared with
// everything else that is renewed on the same backend value. If Join fails there is no member. The caller calls
// [Presence.Leave], also when the member is dead.
func (b *Heartbeat) Join(ctx context.Context, id string) (*Presence, error) {
	if id == "" {
		id = newID()
	}
	p, err := b.join(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("join as %.100q: %w", id, err)
	}
	return p, nil
}

func (b *Heartbeat) join(ctx context.Context, id string) (*Presence, error) {
	p := &Presence{b: b}
	token := newToken(tokenText(b.cfg.Info))
	req := backend.SetRequest{
		Namespace: b.pool.keys.ns,
		Kind:      backend.KindLock,
		Items:     []backend.SetItem{{Name: id, Value: token, TTL: b.cfg.TTL}},
	}
	if err := b.check(ctx, req.Validate()); err != nil {
		return nil, err
	}
	p.leases = lease.KeepLocks(b.pool.be, lease.Config{
		Namespace: b.pool.keys.ns, Logger: b.cfg.Logger, OnLost: p.lost,
	})
	at := p.leases.Now()
	_, err := b.pool.be.Set(ctx, req)
	grant := backend.Grant{Member: id, Token: token}
	if over := p.leases.Start(ctx, &p.hold, grant, at, lease.Terms{TTL: b.cfg.TTL, Renew: true}); err == nil {
		err = over
	}
	if err != nil {
		_ = p.hold.Discard(ctx) // an answer may have been lost
		p.leases.Close()
		return nil, err
	}
	if _, err := b.pool.Extend(ctx, []string{id}); err != nil {
		_ = p.Leave(ctx)
		return nil, err
	}
	return p, nil
}

// check gives the first thing that is wrong before anything is sent.
func (b *Heartbeat) check(ctx context.Context, request error) error {
	if b.err != nil {
		return b.err
	}
	if err := b.pool.keys.check(request); err != nil {
		return err
	}
	return ctx.Err()
}

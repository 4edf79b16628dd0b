package policy

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Defaults of a [RefreshConfig].
const (
	DefaultRefreshInterval = 300 * time.Second // Python's
	DefaultCheckEvery      = 5 * time.Second   // Python's
	DefaultRefreshJitter   = 0.1
	DefaultGrace           = 2 * time.Second
	DefaultFetchTimeout    = 30 * time.Second
)

// RefreshConfig says how often a pool is refreshed, and how long that may take. Zero values are the defaults.
type RefreshConfig struct {
	// Interval is the time between two refreshes, whichever process does them. Default 300 s.
	Interval time.Duration

	// Jitter lengthens each interval by a random part of it, so that many pools do not ask one source at the same
	// moment: with 0.1 by up to a tenth. At most 1; default 0.1; negative: none.
	Jitter float64

	// CheckEvery is how often a process looks whether a refresh is due, when it allocates or waits. All
	// allocations in between pay nothing. Default 5 s, and up to a fifth more, by chance.
	CheckEvery time.Duration

	// Grace is how long the allocation that found a refresh due waits for it. Then it goes on with the pool as it
	// is, while the refresh goes on in the background. Default 2 s; negative: it does not wait at all.
	Grace time.Duration

	// FetchTimeout bounds a refresh, source and writing together. Default 30 s.
	FetchTimeout time.Duration

	// Retry is how soon after a failure the process that failed asks the next source. Default a tenth of Interval;
	// negative: not before the interval is over.
	Retry time.Duration

	// MemberTTL is for how long a member stays in the pool unless a source names it again, in whole seconds.
	// Default backend.NoExpiry.
	MemberTTL time.Duration
}

// Refresh fills the pool from the updater, once per interval among all processes: whoever takes the lock
// Namespace.RefreshLock for that long does it. Python processes take the same lock.
//
// A process tries that lock at most every CheckEvery, and only while somebody allocates or waits: one round trip, and
// for the one who got it the source's time and one or two round trips more. The allocation that found the refresh
// due waits up to Grace for the outcome. Nobody else waits, with one exception: until the first refresh in this
// process has ended, an allocation that finds the pool exhausted waits for it and tries once more.
//
// With one source the refresh assigns: members that it does not name leave the pool (those under a lease keep the
// lease, and are not put back). With several sources it extends.
//
// A source that fails, panics, takes too long or names nobody leaves the pool as it is, and so does an error of the
// store. It is logged, told to the observer as EventRefreshFailed, and is never the error of an allocation.
//
// A refresh that is still running when the pool is closed is cancelled and waited for.
func Refresh[T any](u *Updater, cfg RefreshConfig) Middleware[T] {
	return func(next Policy[T]) Policy[T] {
		cfg, err := cfg.complete()
		if err := errors.Join(u.validate(), err); err != nil {
			return &invalid[T]{next: next, err: err}
		}
		return checkedPart(next, newRefresher(next, u, cfg))
	}
}

// century is as good as for ever, and can be added to a time without overflow.
const century = 100 * 365 * 24 * time.Hour

// complete fills in the defaults and refuses what makes no sense.
func (c RefreshConfig) complete() (RefreshConfig, error) {
	c.Interval = min(cmp.Or(c.Interval, DefaultRefreshInterval), century)
	c.Jitter = cmp.Or(c.Jitter, DefaultRefreshJitter)
	c.CheckEvery = min(cmp.Or(c.CheckEvery, DefaultCheckEvery), century)
	c.Grace = cmp.Or(c.Grace, DefaultGrace)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, DefaultFetchTimeout)
	c.Retry = min(cmp.Or(c.Retry, c.Interval/10), century)
	c.MemberTTL = cmp.Or(c.MemberTTL, backend.NoExpiry)

	errs := []error{
		checkPositive("refresh interval", c.Interval),
		checkPositive("check interval", c.CheckEvery),
		checkPositive("fetch timeout", c.FetchTimeout),
	}
	if c.MemberTTL != backend.NoExpiry {
		errs = append(errs, checkPositive("member ttl", c.MemberTTL))
	}
	if math.IsNaN(c.Jitter) || c.Jitter > 1 {
		errs = append(errs, &backend.InvalidError{
			Field: "refresh jitter", Value: strconv.FormatFloat(c.Jitter, 'g', -1, 64), Reason: "must be at most 1",
		})
	}
	return c, errors.Join(errs...)
}

func checkPositive(field string, d time.Duration) error {
	if d < time.Millisecond {
		return &backend.InvalidError{Field: field, Value: d.String(), Reason: "must be at least a millisecond"}
	}
	return nil
}

// stretch gives d and up to that part of it more.
func stretch(d time.Duration, part float64) time.Duration {
	if part <= 0 {
		return d
	}
	return d + time.Duration(rand.Float64()*part*float64(d))
}

// RefreshAll makes what all sources of the updater name together the content of the pool, now and without regard to
// the interval, and tells how many members that are. A source that fails or names nobody fails the whole, and the
// pool stays as it is: a union that lacks a part would throw out the members of that part. Members stay in the pool
// for ttl; 0 is [backend.NoExpiry].
//
// It takes the time of the slowest source, one round trip to assign and, with a ttl, one more; both in slices of
// [backend.BatchLimit] members.
func RefreshAll[T any](ctx context.Context, p Pool[T], u *Updater, ttl time.Duration) (int, error) {
	members, err := u.FetchAll(ctx)
	if err == nil {
		err = replace(ctx, p, members, cmp.Or(ttl, backend.NoExpiry))
	}
	report(ctx, p, len(members), err)
	if err != nil {
		return 0, err
	}
	return len(members), nil
}

// fill is one turn of the updater.
func fill[T any](ctx context.Context, p Pool[T], u *Updater, ttl time.Duration) (int, error) {
	members, err := u.Fetch(ctx)
	switch {
	case err != nil:
		return 0, err
	case len(u.Sources) > 1:
		err = p.Extend(ctx, members, ttl)
	default:
		err = replace(ctx, p, members, ttl)
	}
	return len(members), err
}

// replace assigns. Assign leaves the expiry of members that stay alone, so one that can end is set first.
func replace[T any](ctx context.Context, p Pool[T], members []string, ttl time.Duration) error {
	if ttl != backend.NoExpiry {
		if err := p.Extend(ctx, members, ttl); err != nil {
			return err
		}
	}
	return p.Assign(ctx, members, ttl)
}

// report logs and counts one refresh.
func report[T any](ctx context.Context, p Pool[T], members int, err error) {
	ns := p.Namespace()
	if err == nil {
		p.Logger().DebugContext(ctx, "pool refreshed", "namespace", ns.String(), "members", members)
		p.Observe(backend.Event{Kind: backend.EventRefreshed, Namespace: ns, Count: members})
		return
	}
	p.Logger().WarnContext(ctx, "pool is not refreshed, it stays as it is",
		append([]any{"namespace", ns.String()}, logError(err)...)...)
	p.Observe(backend.Event{Kind: backend.EventRefreshFailed, Namespace: ns, Err: err})
}

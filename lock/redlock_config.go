package lock

import (
	"log/slog"
	"reflect"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// Defaults of [RedlockConfig].
const (
	DefaultTries      = 3
	DefaultRetryDelay = 200 * time.Millisecond
)

// UntilDone as the number of tries has [Redlock.Lock] try until its context ends.
const UntilDone = -1

// RedlockConfig configures a [Redlock]. The zero value is ready to use. All processes that share locks should have the
// same servers and the same quorum.
type RedlockConfig struct {
	// TTL is how long a lock lasts on each server, if it is not renewed. Default [DefaultTTL]. There is no
	// Redlock without an end.
	TTL time.Duration

	// Quorum is how many servers must grant a lock. Default: more than half of them, which is also the least that
	// excludes others. More servers than that make locks safer, and less available.
	Quorum int

	// Drift is what is taken off the validity, because the servers' clocks and ours do not run at the same speed.
	// Default: one percent of the TTL and 2 ms, which also cover that Redis counts in milliseconds.
	Drift time.Duration

	// ServerTimeout is how long one server may take to answer one call. Default: a tenth of the TTL, at most 50 ms. It
	// should be small compared with the TTL, so that it is not a server that hangs that uses up the validity: with a
	// TTL of 10 s, 5 to 50 ms are usual. A server that needs longer counts as failed.
	ServerTimeout time.Duration

	// Tries is how often Lock tries in all. Default [DefaultTries]; [UntilDone]: until the context ends.
	Tries int

	// RetryDelay is how long Lock waits between two tries, on average: each time anything from half of it to one and
	// a half of it, so that those who got in each other's way do not meet again. Default [DefaultRetryDelay].
	RetryDelay time.Duration

	// NoRenewal leaves locks to run out, unless [RedlockHeld.Extend] is called.
	NoRenewal bool

	// Info is free text that stands in the stores while a lock is held, as [Config.Info].
	Info string

	// Names are what the servers are called in errors and in the log, in their order. Default: their numbers, from 0.
	Names []string

	// Observer, if not nil, is told what happens to locks. Event.Member is the name; there are no fences.
	Observer backend.Observer

	// Logger is where it goes that a server failed and answers again, that a lock was not renewed, and that it was
	// lost. Default: nowhere.
	Logger *slog.Logger
}

// complete fills in the defaults for n servers and refuses what cannot be.
func (c *RedlockConfig) complete(n int) error {
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.TTL < time.Millisecond {
		return invalid("ttl", c.TTL.String(), "must be at least a millisecond")
	}
	if c.Quorum == 0 {
		c.Quorum = n/2 + 1
	}
	if c.Quorum <= n/2 || c.Quorum > n {
		return invalid("quorum", strconv.Itoa(c.Quorum),
			"must be "+strconv.Itoa(n/2+1)+" to "+strconv.Itoa(n)+", of "+strconv.Itoa(n)+" servers")
	}
	if c.Drift == 0 {
		c.Drift = c.TTL/100 + 2*time.Millisecond
	}
	if c.Drift < 0 || c.Drift >= c.TTL {
		return invalid("drift", c.Drift.String(), "must be positive and less than the TTL of "+c.TTL.String())
	}
	if c.ServerTimeout == 0 {
		c.ServerTimeout = min(c.TTL/10, 50*time.Millisecond)
	}
	if c.ServerTimeout < 0 || c.ServerTimeout >= c.validity() {
		return invalid("server timeout", c.ServerTimeout.String(),
			"must be positive and less than the TTL without the drift, "+c.validity().String())
	}
	if c.Tries == 0 {
		c.Tries = DefaultTries
	}
	if c.Tries < UntilDone {
		return invalid("tries", strconv.Itoa(c.Tries), "must be positive, or UntilDone")
	}
	if c.RetryDelay == 0 {
		c.RetryDelay = DefaultRetryDelay
	}
	if c.RetryDelay < 0 {
		return invalid("retry delay", c.RetryDelay.String(), "must be positive")
	}
	if len(c.Names) != 0 && len(c.Names) != n {
		return invalid("names", strconv.Itoa(len(c.Names)), "must be as many as the servers, "+strconv.Itoa(n))
	}
	if err := checkInfo(c.Info); err != nil {
		return err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// validity is how long a lock may be used, from when the first request for it was sent.
func (c *RedlockConfig) validity() time.Duration { return c.TTL - c.Drift }

// checkServers refuses servers that are missing, or that are not independent because they are the same.
func checkServers(servers []RedlockBackend) error {
	if len(servers) == 0 {
		return invalid("servers", "0", "must be at least one")
	}
	seen := make(map[any]int, len(servers))
	for i, s := range servers {
		if lease.IsNil(s) {
			return invalid("server", strconv.Itoa(i), "is nil")
		}
		if !reflect.ValueOf(s).Comparable() {
			continue
		}
		if first, twice := seen[s]; twice {
			return invalid("server", strconv.Itoa(i), "is the same as server "+strconv.Itoa(first))
		}
		seen[s] = i
	}
	return nil
}

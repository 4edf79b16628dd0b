package lock

import (
	"cmp"
	"errors"
	"log/slog"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redisallocator/redisallocator/backend"
)

// Defaults of a [Config].
const (
	DefaultTTL            = 10 * time.Second
	DefaultReplicaTimeout = time.Second
)

// MaxInfo is the longest [Config.Info], in bytes.
const MaxInfo = 256

// Backend is what locks need of a backend. Every backend.Backend has it.
type Backend interface {
	backend.Locks
	backend.Lines
}

// Config describes a lock. The zero value is a good one. Processes that share a lock need not agree on it.
type Config struct {
	// TTL is for how long a lock is granted. A process that dies keeps it for that long at most, and one that cannot
	// reach the store loses it then. At least a millisecond; default 10 seconds.
	//
	// With backend.NoExpiry it never runs out: a process that dies keeps it for ever, until somebody frees it by hand. That
	// is for holders that are watched by other means. Such a lock is not renewed, so that its loss is noticed only
	// when it is unlocked, or after the connection to the store was lost.
	TTL time.Duration

	// NoRenewal leaves it to [Held.Extend] and its like to keep a lock longer than its TTL. Otherwise it is renewed in the
	// background, each third of its TTL, until it is unlocked.
	NoRenewal bool

	// Priority says who goes first of those that wait: the larger number, -backend.MaxPriority to backend.MaxPriority.
	Priority int

	// MaxWait bounds how long Lock waits, at least a millisecond; then it fails with [ErrLocked]. Other than with a
	// deadline of the context, the context of what is held does not end then. Default 0: as long as the context lasts.
	MaxWait time.Duration

	// Info is free text that stands in the store while the lock is held, for the administrator: which job, for whom.
	// UTF-8 without control characters, at most MaxInfo bytes.
	Info string

	// Replicas has an acquisition count only when so many replicas have it, within ReplicaTimeout. Else it is undone,
	// and the error matches backend.ErrReplicas. It costs the time that the replicas take and, after a wait, a
	// round trip. Renewals do not wait for replicas. ReplicaTimeout is one second by default.
	Replicas       int
	ReplicaTimeout time.Duration

	// ClaimTTL is how long a lock that is handed to somebody who waits is kept for him until he has answered.
	// Default backend.DefaultClaimTTL.
	ClaimTTL time.Duration

	// Observer, if not nil, is told what happens to locks. Event.Member is the name.
	Observer backend.Observer

	// Logger is where renewals without an answer and lost locks are reported. Default nil: nowhere.
	Logger *slog.Logger
}

// complete sets defaults, and tells what is wrong.
func (c *Config) complete() error {
	c.TTL = cmp.Or(c.TTL, DefaultTTL)
	c.ClaimTTL = cmp.Or(c.ClaimTTL, backend.DefaultClaimTTL)
	if c.Replicas != 0 {
		c.ReplicaTimeout = cmp.Or(c.ReplicaTimeout, DefaultReplicaTimeout)
	}
	errs := []error{checkInfo(c.Info)}
	if c.MaxWait != 0 {
		errs = append(errs, checkWait(c.MaxWait))
	}
	return errors.Join(errs...)
}

// durability is what the configuration asks for.
func (c *Config) durability() backend.Durability {
	return backend.Durability{Replicas: c.Replicas, Timeout: c.ReplicaTimeout}
}

func checkPriority(n int64) error {
	if n < -backend.MaxPriority || n > backend.MaxPriority {
		return invalid("priority", strconv.FormatInt(n, 10), "must be -1000 to 1000")
	}
	return nil
}

func checkWait(d time.Duration) error {
	if d < time.Millisecond {
		return invalid("max wait", d.String(), "must be at least a millisecond")
	}
	return nil
}

func checkInfo(s string) error {
	switch {
	case len(s) > MaxInfo:
		return invalid("info", "of that length", "must not be longer than 256 bytes")
	case !utf8.ValidString(s):
		return invalid("info", "of that kind", "must be UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return invalid("info", "of that kind", "must not contain control characters")
		}
	}
	return nil
}

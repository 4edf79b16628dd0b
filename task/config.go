package task

import (
	"cmp"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Defaults of a [Config].
const (
	DefaultTimeout   = time.Hour
	DefaultRetention = 10 * time.Minute
	DefaultGraveyard = 7 * 24 * time.Hour
	DefaultMaxDeaths = 3
	DefaultMaxSize   = 1 << 20
)

// Backend is what tasks need of a backend. Every backend.Backend has it.
type Backend interface {
	backend.Queues
}

// Config describes a queue. The zero value is a good one. Those who submit decide about what the comments call the
// task's; the rest is that of the worker.
type Config struct {
	// Timeout is the task's whole time, from its submission to its end, retries included; then it expires. It begins after
	// a [Delay]. Default one hour.
	Timeout time.Duration

	// AttemptTimeout is the task's time for one attempt; then the attempt has failed, with CodeTimeout. Default 0: as long
	// as the task has time.
	AttemptTimeout time.Duration

	// Retention is how long the task's final state can be read. Default ten minutes.
	Retention time.Duration

	// Graveyard is how long a dead task is kept. Default a week.
	Graveyard time.Duration

	// Retries is how many attempts the task has after the first that failed. Without any, which is the default, an attempt that
	// fails fails the task; with some, a task that has used them up is dead.
	Retries int

	// MaxDeaths is how many of the task's workers may die before it is dead. Default 3.
	MaxDeaths int

	// Backoff says how long to wait before the next attempt, after so many that failed (from 1), the last with err. Default
	// ExponentialBackoff(time.Second, 10*time.Minute). It is the worker's.
	Backoff func(failed int, err error) time.Duration

	// Policy says where Query has a task done. Default Remote.
	Policy Policy

	// Codec turns payloads and results into bytes; default JSON. MaxSize is the most bytes that one may have; default 1 MiB.
	Codec   Codec
	MaxSize int

	// Server describes the server of [Queue.Listen].
	Server ServerConfig

	// Observer, if not nil, is told what happens to tasks in this process. Event.Member is the task's id.
	Observer backend.Observer

	// Logger is where trouble is reported, and what [Task.Logger] adds to. Default nil: nowhere.
	Logger *slog.Logger
}

// ExponentialBackoff gives a backoff that doubles from one attempt to the next, from base to limit, with jitter: of what
// it gives, between half and the whole is waited.
func ExponentialBackoff(base, limit time.Duration) func(failed int, err error) time.Duration {
	return func(failed int, _ error) time.Duration {
		d := limit
		if shift := failed - 1; shift < 62 && base < limit>>max(shift, 0) {
			d = base << max(shift, 0)
		}
		if d <= 0 {
			return 0
		}
		return d/2 + rand.N(d/2+1)
	}
}

var defaultBackoff = ExponentialBackoff(time.Second, 10*time.Minute)

// complete sets defaults, and tells what is wrong.
func (c *Config) complete() error {
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Retention = cmp.Or(c.Retention, DefaultRetention)
	c.Graveyard = cmp.Or(c.Graveyard, DefaultGraveyard)
	c.MaxDeaths = cmp.Or(c.MaxDeaths, DefaultMaxDeaths)
	c.MaxSize = cmp.Or(c.MaxSize, DefaultMaxSize)
	if c.Backoff == nil {
		c.Backoff = defaultBackoff
	}
	if c.Codec == nil {
		c.Codec = JSON
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		field string
		d     time.Duration
		zero  bool
	}{
		{"timeout", c.Timeout, false},
		{"attempt timeout", c.AttemptTimeout, true},
		{"retention", c.Retention, false},
		{"graveyard", c.Graveyard, false},
	} {
		if err := checkSpan(d.field, d.d, d.zero); err != nil {
			return err
		}
	}
	switch {
	case c.Retries < 0 || c.Retries > math.MaxInt32:
		return invalid("retries", strconv.Itoa(c.Retries), "must not be negative")
	case c.MaxDeaths < 1 || c.MaxDeaths > backend.MaxDeaths:
		return invalid("deaths", strconv.Itoa(c.MaxDeaths), "must be 1 to "+strconv.Itoa(backend.MaxDeaths))
	case c.MaxSize < 0 || c.MaxSize > backend.MaxTaskData:
		return invalid("size", strconv.Itoa(c.MaxSize), "must be 1 to "+strconv.Itoa(backend.MaxTaskData))
	case c.Policy > Auto:
		return invalid("policy", strconv.Itoa(int(c.Policy)), "is unknown")
	}
	return nil
}

func checkSpan(field string, d time.Duration, zero bool) error {
	if d < time.Millisecond && (d != 0 || !zero) {
		return invalid(field, d.String(), "must be at least a millisecond")
	}
	return nil
}

package pool

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/binding"
	"github.com/redisallocator/redisallocator/internal/lease"
	"github.com/redisallocator/redisallocator/policy"
)

// Defaults of a [Config].
const (
	DefaultTTL        = 2 * time.Minute    // Python's
	DefaultBindingTTL = binding.DefaultTTL // Python's
)

// Backend is what an allocator needs of a backend. Every backend.Backend has it.
type Backend interface {
	backend.Values
	backend.Pools
	backend.Lines
}

// Config describes an allocator. All but the namespace has a default. All allocators with the same namespace on the
// same store, in whatever process, share one pool; they should agree on Shared.
type Config[T Allocatable] struct {
	Namespace backend.Namespace

	// Shared has members go round instead of being locked.
	Shared bool

	// Policy decides how an allocation is done and how the pool is filled. Default nil: straight to the backend,
	// one round trip.
	Policy policy.Policy[T]

	// TTL is that of leases, unless an allocation has another. A process that dies keeps its members for that long
	// at most. Default 2 minutes; backend.NoExpiry: they never run out.
	TTL time.Duration

	// NoRenewal leaves it to [Lease.Update] to keep a lease longer than its TTL. Otherwise leases are renewed in
	// the background, each third of their TTL, until they are released.
	NoRenewal bool

	// BindingTTL is how long a soft binding lasts since its last use. Default one hour; backend.NoExpiry: for ever.
	BindingTTL time.Duration

	// ClaimTTL is how long a member that is handed to a waiting Acquire is kept for it until it has answered.
	// Default backend.DefaultClaimTTL.
	ClaimTTL time.Duration

	// Observer, if not nil, is told what happens to leases and members.
	Observer backend.Observer

	// Logger is where the pool reports what it survived: renewals without an answer, failures of a policy's parts.
	// Default nil: nowhere.
	Logger *slog.Logger
}

func (c *Config[T]) complete() error {
	c.TTL = cmp.Or(c.TTL, DefaultTTL)
	c.BindingTTL = cmp.Or(c.BindingTTL, DefaultBindingTTL)
	c.ClaimTTL = cmp.Or(c.ClaimTTL, backend.DefaultClaimTTL)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	errs := []error{
		c.Namespace.Validate(),
		backend.ValidateTTL("ttl", c.TTL),
		backend.ValidateTTL("binding ttl", c.BindingTTL),
	}
	if c.ClaimTTL == backend.NoExpiry {
		errs = append(errs, invalid("claim ttl", c.ClaimTTL.String(), "must have an end"))
	} else {
		errs = append(errs, backend.ValidateTTL("claim ttl", c.ClaimTTL))
	}
	if lease.IsNil(c.Policy) && c.Policy != nil {
		errs = append(errs, invalid("policy", "nil", "must not be a nil pointer"))
	}
	return errors.Join(errs...)
}

func invalid(field, value, reason string) error {
	return &backend.InvalidError{Field: field, Value: value, Reason: reason}
}

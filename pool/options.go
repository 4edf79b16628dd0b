package pool

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
)

// Option changes one allocation. Options cost no memory on the heap. What an allocation cannot use, such as a
// priority where nobody waits, it ignores; what is out of range fails it with an error that matches
// backend.ErrInvalid, before anything is sent.
type Option struct {
	kind   optionKind
	number int64
	text   string
	list   []string
	value  any
}

type optionKind uint8

const (
	optTTL optionKind = iota + 1
	optNoRenewal
	optName
	optBindingTTL
	optParams
	optPriority
	optMaxWait
	optPrefer
	optOnly
	optToken
)

// TTL gives the lease another TTL than [Config] says: at least a millisecond, or backend.NoExpiry. Without effect in
// shared mode.
func TTL(d time.Duration) Option { return Option{kind: optTTL, number: int64(d)} }

// NoRenewal leaves the lease to run out, unless [Lease.Update] is called.
func NoRenewal() Option { return Option{kind: optNoRenewal} }

// Name is the soft binding to use: the member that the name had before is preferred, and the name is bound to the
// member that it gets. "" is none, also for an object that is a [Namer]. Not for several members at once.
func Name(name string) Option { return Option{kind: optName, text: name} }

// BindingTTL is how long the soft binding lasts from now on: at least a millisecond, or backend.NoExpiry.
func BindingTTL(d time.Duration) Option { return Option{kind: optBindingTTL, number: int64(d)} }

// Params are what the object is configured with, besides the key.
func Params(params any) Option { return Option{kind: optParams, value: params} }

// Priority says who goes first of those that wait: the larger number, -backend.MaxPriority to backend.MaxPriority.
// Default 0. Only for Acquire and its like.
func Priority(n int) Option { return Option{kind: optPriority, number: int64(n)} }

// MaxWait bounds how long Acquire and its like wait, at least a millisecond; then they fail with [ErrExhausted]. Other
// than with a deadline of the context, the context of the lease does not end then.
func MaxWait(d time.Duration) Option { return Option{kind: optMaxWait, number: int64(d)} }

// Prefer lists keys to try first, in this order, at most backend.MaxTake. The pool keeps the slice.
func Prefer(keys ...string) Option { return Option{kind: optPrefer, list: keys} }

// Only lists the only keys to try, in this order. It goes past those who wait in line, and cannot wait itself. A soft
// binding is neither used nor changed; [Lease.SetHealthy] binds the name.
func Only(keys ...string) Option { return Option{kind: optOnly, list: keys} }

// Token is the owner's token, instead of a new one, so that others can know it beforehand: [Allocator.Position] finds
// the request in line by it. It must not be that of another request or lease.
func Token(token string) Option { return Option{kind: optToken, text: token} }

// apply changes the request and reports whether a name was given.
func apply[T any](req *policy.Request[T], opts []Option) (named bool, err error) {
	for i := range opts {
		o := &opts[i]
		switch d := time.Duration(o.number); o.kind {
		case optTTL:
			req.TTL = d
			err = firstErr(err, backend.ValidateTTL("ttl", d))
		case optNoRenewal:
			req.NoRenewal = true
		case optName:
			req.Name, named = o.text, true
		case optBindingTTL:
			req.BindingTTL = d
			err = firstErr(err, backend.ValidateTTL("binding ttl", d))
		case optParams:
			req.Params = o.value
		case optPriority:
			req.Priority = int(o.number)
		case optMaxWait:
			req.MaxWait = d
			if d < time.Millisecond {
				err = firstErr(err, invalid("max wait", d.String(), "must be at least a millisecond"))
			}
		case optPrefer:
			req.Prefer = o.list
		case optOnly:
			req.Prefer, req.Only = o.list, true
		case optToken:
			req.Token = o.text
			if o.text == "" {
				err = firstErr(err, invalid("token", `""`, "must not be empty"))
			}
		}
	}
	return named, err
}

func firstErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

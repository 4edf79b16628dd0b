package lock

import (
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Option changes one acquisition. Options cost no memory on the heap. What is out of range fails it with an error that
// matches backend.ErrInvalid, before anything is sent. If a lock is entered again by [WithHeld], options are checked
// and have no effect.
type Option struct {
	kind   optionKind
	number int64
	text   string
}

type optionKind uint8

const (
	optTTL optionKind = iota + 1
	optNoRenewal
	optPriority
	optMaxWait
	optToken
)

// TTL is used instead of that of the [Config]: at least a millisecond, or backend.NoExpiry.
func TTL(d time.Duration) Option { return Option{kind: optTTL, number: int64(d)} }

// NoRenewal leaves the lock to run out, unless [Held.Extend] or its like is called.
func NoRenewal() Option { return Option{kind: optNoRenewal} }

// Priority is used instead of that of the [Config].
func Priority(n int) Option { return Option{kind: optPriority, number: int64(n)} }

// MaxWait is used instead of that of the [Config].
func MaxWait(d time.Duration) Option { return Option{kind: optMaxWait, number: int64(d)} }

// Token is the owner's token, instead of a new one: others know it beforehand, or have it from [Held.Token].
//
// Passed on purpose, it makes the lock reentrant: a lock that is held under this token is granted again, also in another
// process, for its TTL at least, and is free when it has been unlocked as often. Each handle is unlocked once. Of
// those that wait in line only one at a time may use a token. A refusal takes one round trip more, to tell [ErrUpgrade]
// from [ErrLocked].
//
// In the store all that share a token have one lease, which lasts as long as the longest of them. When the answer to an
// Unlock is lost, it may have counted, and is tried again all the same: then the lock may be free too early, which the
// others learn when they renew theirs.
//
// The token replaces the one that says who holds the lock; see [ParseHolder].
func Token(token string) Option { return Option{kind: optToken, text: token} }

// apply changes the request.
func (r *request) apply(opts []Option) (err error) {
	for i := range opts {
		o := &opts[i]
		var wrong error
		switch d := time.Duration(o.number); o.kind {
		case optTTL:
			r.ttl, wrong = d, backend.ValidateTTL("ttl", d)
		case optNoRenewal:
			r.renew = false
		case optPriority:
			r.priority, wrong = int(o.number), checkPriority(o.number)
		case optMaxWait:
			r.maxWait, wrong = d, checkWait(d)
		case optToken:
			r.token, r.again, wrong = o.text, true, backend.ValidateOwner(o.text)
		}
		if err == nil {
			err = wrong
		}
	}
	return err
}

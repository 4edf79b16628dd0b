package task

import "time"

// Option changes one submission. What is out of range fails it with an error that matches backend.ErrInvalid, before
// anything is sent.
type Option interface {
	apply(s *submission)
}

// Policy says where a task is done. It is an [Option]:
//
//	res, err := resize.Query(ctx, params, task.Auto)
type Policy uint8

// The policies. The local handler is that of [Queue.WithLocal]; it makes one attempt. In each place the task has its whole Timeout.
const (
	Remote      Policy = iota // by who listens; the default
	Local                     // by the local handler; nothing is sent
	LocalFirst                // by the local handler; if that fails, by who listens, unless the error is final
	RemoteFirst               // by who listens; if that fails, by the local handler, unless the error is final
	Auto                      // by who listens, if somebody does, which is asked in the same step, else by the local handler
)

type optionFunc func(s *submission)

func (f optionFunc) apply(s *submission) { f(s) }

func (p Policy) apply(s *submission) { s.policy = p }

// ID names the task, instead of a new, random name: what is submitted again under the same id, by whomever, joins it. An
// id is unique among all queues of the namespace. What has ended is joined, too, however it has, for as long as that is kept:
// to have it done anew, remove it, or revive it if it is dead. The other options are those of whoever was first.
func ID(id string) Option {
	return optionFunc(func(s *submission) { s.req.ID, s.named = id, true })
}

// Timeout is the task's whole time, a delay included; see [Config]. 0 is that of the Config.
func Timeout(d time.Duration) Option {
	return optionFunc(func(s *submission) { s.req.Timeout = d })
}

// AttemptTimeout is the task's time for one attempt; see [Config].
func AttemptTimeout(d time.Duration) Option {
	return optionFunc(func(s *submission) { s.meta.AttemptTimeout, s.limited = d, true })
}

// Retention is how long the final state can be read; see [Config]. A result of more than 16 KiB is not told, but read, by those
// who wait, too.
func Retention(d time.Duration) Option {
	return optionFunc(func(s *submission) { s.req.Retention = d })
}

// Once removes the final state when it has been read by Query or Wait: one more round trip. What is dead stays. Who waits for the
// same task elsewhere may come too late for it and get [ErrLost]. A Query without [ID] forgets its
// task anyway, with one of the next submissions.
func Once() Option {
	return optionFunc(func(s *submission) { s.once = true })
}

// Retries is how many attempts there are after the first that failed; see [Config].
func Retries(n int) Option {
	return optionFunc(func(s *submission) { s.meta.Retries = n })
}

// MaxDeaths is how many workers may die before the task is dead; see [Config].
func MaxDeaths(n int) Option {
	return optionFunc(func(s *submission) { s.req.MaxDeaths = n })
}

// Delay has the task wait until d has passed, by the store's clock. Without a [Timeout] option the task has that of its
// [Config] from then on.
func Delay(d time.Duration) Option {
	return optionFunc(func(s *submission) { s.req.Delay = d })
}

// At has the task wait until a moment, by the local clock. One that has passed is now.
func At(t time.Time) Option {
	return optionFunc(func(s *submission) { s.req.Delay = max(time.Until(t), 0) })
}

// Class is the priority class of a task; see [ServerConfig] for how workers choose. It is an [Option].
type Class uint8

// The classes.
const (
	Normal Class = iota
	High
	Low
)

func (c Class) apply(s *submission) { s.class = c }

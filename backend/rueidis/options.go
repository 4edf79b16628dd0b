package rueidis

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// DefaultCallTimeout bounds one call to the server, see [CallTimeout].
const DefaultCallTimeout = 5 * time.Second

type options struct {
	log         *slog.Logger
	callTimeout time.Duration
	tracking    bool
	roundabout  bool // for tests: never take the short way of exchange.lua
}

// Option changes how a [Backend] behaves.
type Option func(*options)

// Logger gets what the backend has to tell: what happens in the background and no caller learns. The default, also
// of nil, is silence.
func Logger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// CallTimeout bounds one call to the server: what has no answer by then counts as lost, with
// [backend.ErrUnavailable]. The bound may be passed by an eighth of it. It must be positive; the default is
// [DefaultCallTimeout].
func CallTimeout(d time.Duration) Option { return func(o *options) { o.callTimeout = d } }

// Tracking turns on server-assisted client-side caching (RESP3): Get then reads locks and bindings from memory until the
// server says that they have changed. What this backend has written it also reads; what others write shows a moment
// later, about a round trip. The first in line learns at once when somebody who knows nothing of lines frees a member,
// instead of looking for it several times a second; for a lock that was only removed, and on a Cluster, it still has to
// look.
//
// It is worth while for a process that looks much oftener than it takes and gives back: after a call that may have
// changed something, the next look goes to the server. All calls then travel on one connection. Where the server or a
// proxy does not support it, the log says so once, and everything works without.
func Tracking() Option { return func(o *options) { o.tracking = true } }

func newOptions(opts []Option) options {
	o := options{callTimeout: DefaultCallTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o *options) validate() error {
	if o.callTimeout <= 0 {
		return &backend.InvalidError{
			Field: "call timeout", Value: strconv.Quote(o.callTimeout.String()), Reason: "must be positive",
		}
	}
	return nil
}

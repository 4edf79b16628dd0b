package lease

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/redisallocator/redisallocator/backend"
)

// Observe tells o, if there is one, what has happened. A panic of its is logged and nobody else's problem: o may be told on a
// goroutine of ours, and in the midst of something that has to be finished. log may be nil.
func Observe(o backend.Observer, log *slog.Logger, e backend.Event) {
	if o == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil && log != nil {
			log.Error("observer panicked", "event", e.Kind.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	o.Observe(e)
}

package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Recover turns a panic of the handler into an error with the code "panic", and logs its stack. Servers do so outside of all
// middleware; with Recover, the middleware around it sees an error.
func Recover[P, R any]() Middleware[P, R] {
	return func(h Handler[P, R]) Handler[P, R] {
		return func(ctx context.Context, t *Task[P]) (res R, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = caught(t.run, p)
				}
			}()
			return h(ctx, t)
		}
	}
}

// Limit ends the context of the handler after d, with the cause [ErrTimeout]. If it returns an error because of that, this
// matches ErrTimeout and crosses the wire with [CodeTimeout].
func Limit[P, R any](d time.Duration) Middleware[P, R] {
	return func(h Handler[P, R]) Handler[P, R] {
		return func(ctx context.Context, t *Task[P]) (R, error) {
			limited, cancel := context.WithTimeoutCause(ctx, d, ErrTimeout)
			defer cancel()
			res, err := h(limited, t)
			if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && errors.Is(context.Cause(limited), ErrTimeout) {
				err = fmt.Errorf("%w: %w", ErrTimeout, err)
			}
			return res, err
		}
	}
}

// Logging logs the beginning and the end of each attempt: with level Debug, an end with an error with level Warn. It is what
// [Task.Logger] gives, too.
func Logging[P, R any](logger *slog.Logger) Middleware[P, R] {
	return func(h Handler[P, R]) Handler[P, R] {
		return func(ctx context.Context, t *Task[P]) (R, error) {
			log := t.run.named(logger)
			t.run.logger.Store(log)
			log.DebugContext(ctx, "attempt begins")
			begin := time.Now()
			res, err := h(ctx, t)
			if err != nil {
				log.WarnContext(ctx, "attempt has failed", "after", time.Since(begin), "error", err)
			} else {
				log.DebugContext(ctx, "attempt is done", "after", time.Since(begin))
			}
			return res, err
		}
	}
}

package task

import (
	"log/slog"
	"time"
)

// Recover turns a panic of the handler into an error with the code "panic", and logs its stack. Servers do so outside of all
// middleware; with Recover, the middleware around it sees an error.
func Recover[P, R any]() Middleware[P, R] { panic("not there yet") }

// Limit ends the context of the handler after d, with the cause [ErrTimeout].
func Limit[P, R any](d time.Duration) Middleware[P, R] { panic("not there yet") }

// Logging logs the beginning and the end of each attempt: with level Debug, an end with an error with level Warn. It is what
// [Task.Logger] gives, too.
func Logging[P, R any](logger *slog.Logger) Middleware[P, R] { panic("not there yet") }

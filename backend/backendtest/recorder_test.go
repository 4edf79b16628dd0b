package backendtest_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/backendtest"
	"github.com/redisallocator/redisallocator/backend/memory"
)

// recorder is a backendtest.TB that notes failures instead of failing.
type recorder struct {
	t        *testing.T
	failures []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.t.Context() }
func (r *recorder) Logf(string, ...any)      {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs check in a bubble against a memory backend inside wrap and gives what it complained about.
func failures(t *testing.T, wrap func(backend.Backend) backend.Backend, check func(backendtest.TB, backend.Backend)) []string {
	t.Helper()
	var got []string
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{t: t}
		whole := memory.New()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if p := recover(); p != nil {
					r.failures = append(r.failures, fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
				}
			}()
			check(r, wrap(whole))
		}()
		<-done
		if err := whole.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		got = slices.Clone(r.failures)
	})
	return got
}

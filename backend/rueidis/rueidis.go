package rueidis

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

var (
	_ backend.Backend     = (*Backend)(nil)
	_ backend.Reconnector = (*Backend)(nil)
)

// Backend keeps everything in Redis or Valkey. It is safe for concurrent use.
type Backend struct {
	client  rueidis.Client
	own     bool   // close the client with the backend
	process string // unique to this Backend; names its wake channel
	cluster bool
	opts    options
	log     *slog.Logger

	// ctx ends with Close; loops run on it. Calls to the server that are under way do not: Close waits for
	// them, each bounded by options.callTimeout.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the backend; start them with b.start

	mu     sync.RWMutex
	closed bool
	spaces map[backend.Namespace]*space

	bound      atomic.Pointer[bound] // see bounded
	replicated atomic.Bool           // see durable.go

	waits lines // of the whole process, see lines.go
	wires wires // for lone callers, see wires.go
}

// begin keeps Close waiting until end; false after Close.
func (b *Backend) begin() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return false
	}
	b.wg.Add(1)
	return true
}

func (b *Backend) end() { b.wg.Done() }

// start runs f on a goroutine that Close waits for. It reports false, and does not run f, after Close.
func (b *Backend) start(f func()) bool {
	if !b.begin() {
		return false
	}
	go func() {
		defer b.end()
		f()
	}()
	return true
}

func (b *Backend) isClosed() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.closed
}

// Close ends all waits with [backend.ErrClosed], waits for the calls that are under way (each ends within the bound
// of [CallTimeout]) and for the goroutines of the backend, and closes the client if [Open] or [OpenOption] made it.
// It gives no leases back. Calls after Close get [backend.ErrClosed]. The error is always nil.
func (b *Backend) Close() error { return b.close(true) }

func (b *Backend) close(opened bool) error {
	b.mu.Lock()
	already := b.closed
	b.closed = true
	b.mu.Unlock()
	if !already {
		b.cancel()
		if opened {
			b.closeLines()
		}
	}
	b.wg.Wait()
	if already {
		return nil
	}
	if current := b.bound.Load(); current != nil {
		current.cancel()
	}
	b.wires.close()
	if opened && b.own {
		b.client.Close()
	}
	return nil
}

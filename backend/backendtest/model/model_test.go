package model_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) {
	redistest.Parallel(4)
	goleak.VerifyTestMain(redistest.Wrap(m))
}

func TestMemoryAgainstItself(t *testing.T) {
	t.Parallel()
	a, b := memory.New(), memory.New()
	defer a.Close()
	defer b.Close()
	compare(t, a, b)
}

func TestMemoryAgainstRedis(t *testing.T) {
	t.Parallel()
	here, redis := memory.New(), onRedis(t)
	defer here.Close()
	compare(t, here, redis)
}

// onRedis gives a backend whose calls do not run out of time, however slow the machine is.
func onRedis(t *testing.T) backend.Backend {
	t.Helper()
	be, err := rueidis.Open(t.Context(), redistest.URL(t), rueidis.CallTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = be.Close() })
	return be
}

// compare runs random operations on two backends. To see one run again, use -rapid.seed, or the file that rapid names.
func compare(t *testing.T, a, b backend.Backend) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		p := &pair{
			t: t, ctx: ctx, be: [2]backend.Backend{a, b},
			ns:      backend.Namespace{Prefix: "model-" + suffix(), Suffix: "allocator", HashTag: rapid.Bool().Draw(t, "hash tag")},
			waiters: map[string]*waiter{}, claims: map[string]bool{},
			expires: rapid.IntRange(1, 40).Draw(t, "expires") == 1,
		}
		defer p.end()
		both(p, "Extend", func(ctx context.Context, be backend.Backend) (backend.EditReply, error) {
			return be.Extend(ctx, backend.ExtendRequest{Namespace: p.ns, Members: memberNames[:5], TTL: backend.NoExpiry})
		})
		t.Repeat(p.actions())
	})
}

// suffix is random, not drawn: runs must not meet on a server, also when rapid repeats one.
func suffix() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

package lease

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

// A process that is stopped runs no timers. When it goes on, whoever looks must not have to wait for them.
func TestAStoppedProcessKnowsAtItsFirstLook(t *testing.T) {
	t.Parallel()
	for name, look := range map[string]func(h *Hold, ctx context.Context) bool{
		"Err":    func(_ *Hold, ctx context.Context) bool { return ctx.Err() != nil },
		"Cause":  func(_ *Hold, ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrExpired) },
		"Valid":  func(h *Hold, _ context.Context) bool { return !h.Valid() },
		"Update": func(h *Hold, ctx context.Context) bool { return h.Update(context.WithoutCancel(ctx), time.Hour) != nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			be := memory.New()
			defer be.Close()
			ns := backend.Namespace{Prefix: "test", Suffix: "stopped"}
			_, err := be.Extend(t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"a"}, TTL: backend.NoExpiry})
			require.NoError(t, err)
			g := Keep(be, Config{Namespace: ns})
			defer g.Close()
			at := g.Now()
			reply, err := be.Take(t.Context(), backend.TakeRequest{Namespace: ns, Token: "x", TTL: time.Minute})
			require.NoError(t, err)
			h := new(Hold)
			require.NoError(t, g.Start(t.Context(), h, reply.Grants[0], at, Terms{TTL: time.Minute, Renew: true}))
			ctx := h.Context()

			g.k.mu.Lock()
			require.True(t, g.k.timer.Stop())
			g.k.wg.Done()
			g.k.mu.Unlock()
			<-time.After(time.Minute)
			require.True(t, look(h, ctx), name)
			require.ErrorIs(t, context.Cause(ctx), ErrExpired, name)
			require.False(t, h.Valid(), name)
		})
	}
}

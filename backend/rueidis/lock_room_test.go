package rueidis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// lockRoom is a namespace of locks.
type lockRoom struct{ *room }

func newLockRoom(t testing.TB, url string) *lockRoom {
	t.Helper()
	r := newRoom(t, url)
	r.ns.Suffix = "lock"
	return &lockRoom{r}
}

// item is a name that is wanted alone.
func item(name string) backend.LockItem { return backend.LockItem{Name: name} }

// reading is a name that is wanted together with others.
func reading(name string) backend.LockItem { return backend.LockItem{Name: name, Units: 1} }

func (r *lockRoom) asks(token string, items ...backend.LockItem) backend.LockRequest {
	return backend.LockRequest{Namespace: r.ns, Token: token, TTL: time.Hour, Items: items}
}

// lock locks what must be free.
func (r *lockRoom) lock(b *Backend, req backend.LockRequest) []backend.Grant {
	r.Helper()
	got, err := b.Lock(r.Context(), req)
	require.NoError(r, err)
	require.Len(r, got.Grants, len(req.Items))
	return got.Grants
}

// unlock and extend ask again if the connection that they happened to get was broken.
func (r *lockRoom) unlock(b *Backend, grants ...backend.Grant) {
	r.Helper()
	req := backend.UnlockRequest{Namespace: r.ns}
	for _, g := range grants {
		req.Items = append(req.Items, backend.Held{Member: g.Member, Token: g.Token})
	}
	tries := 0
	r.patiently("unlock", func() error {
		tries++
		got, err := b.Unlock(context.Background(), req)
		if err == nil && tries == 1 {
			assert.NotContains(r, got.Unlocked, false)
		}
		return err
	})
}

func (r *lockRoom) extend(b *Backend, grants ...backend.Grant) bool {
	r.Helper()
	return r.extendFor(b, time.Hour, grants...)
}

// extendFor sets another TTL.
func (r *lockRoom) extendFor(b *Backend, ttl time.Duration, grants ...backend.Grant) bool {
	r.Helper()
	req := backend.RenewRequest{Namespace: r.ns}
	for _, g := range grants {
		req.Items = append(req.Items, backend.Renewal{Member: g.Member, Token: g.Token, TTL: ttl})
	}
	var got backend.RenewReply
	r.patiently("renew", func() (err error) {
		got, err = b.RenewLocks(context.Background(), req)
		return err
	})
	return !slices.Contains(got.Renewed, false)
}

// waitsFor joins the lines.
func (r *lockRoom) waitsFor(b *Backend, token string, items ...backend.LockItem) <-chan backend.Handover {
	r.Helper()
	return r.wait(b, backend.EnterRequest{Lock: r.asks(token, items...), ClaimTTL: time.Hour})
}

// passes waits for a hand-over to b, confirms it and gives it back.
func (r *lockRoom) passes(b *Backend, ch <-chan backend.Handover) []backend.Grant {
	r.Helper()
	h, _ := r.granted(ch)
	require.True(r, r.extend(b, h.Grants...))
	r.unlock(b, h.Grants...)
	return h.Grants
}

// lines is the length of a name's line.
func (r *lockRoom) lines(name string) int { return r.number("ZCARD", r.ns.LockLine(name)) }

// remembered is the number of requests that the server knows of.
func (r *lockRoom) remembered() int { return r.number("HLEN", r.ns.LockRequests()) }

// left tells what there is besides numbers and limits: locks, lines, requests, holders.
func (r *lockRoom) left() string {
	keys, err := r.do("KEYS", strings.NewReplacer("[", `\[`, "*", `\*`).Replace(r.ns.Base())+"*").AsStrSlice()
	if err != nil {
		return err.Error()
	}
	stays := []string{r.ns.Fence(), r.ns.LockLimits(), r.ns.LockProcesses(), r.ns.LockSequence()}
	var left []string
	for _, key := range keys {
		if !slices.Contains(stays, key) {
			left = append(left, fmt.Sprintf("%q", key))
		}
	}
	return strings.Join(left, ", ")
}

// clear waits until nothing is left.
func (r *lockRoom) clear() {
	r.Helper()
	left := ""
	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		if left = r.left(); left == "" {
			return
		}
		if time.Since(begin) > patience {
			require.FailNow(r, "something is left over", left)
		}
	}
}

// locksBehindProxy gives a process behind a proxy and one that looks on, and has the scripts loaded.
func locksBehindProxy(t *testing.T) (*lockRoom, *redistest.Proxy, *Backend, *Backend) {
	t.Helper()
	r := newLockRoom(t, redistest.URL(t))
	proxy := redistest.NewProxy(t, addr(t, r.url))
	b, other := r.process(proxy.URL()), r.process(r.url)
	r.unlock(other, r.lock(other, r.asks("warm", item("warm")))...)
	return r, proxy, b, other
}

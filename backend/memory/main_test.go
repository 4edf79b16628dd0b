package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ns = backend.Namespace{Prefix: "test", Suffix: "allocator"}

// rig is a backend in a bubble of fake time, and short ways to ask it.
type rig struct {
	*memory.Backend
	t *testing.T
}

// bubble runs f on fake time with an empty backend, closed at the end.
func bubble(t *testing.T, f func(t *testing.T, r rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		defer b.Close()
		f(t, rig{b, t})
	})
}

// pass lets fake time pass, and what it brings about happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (r rig) extend(members ...string) {
	r.t.Helper()
	_, err := r.Extend(r.t.Context(), backend.ExtendRequest{Namespace: ns, Members: members, TTL: backend.NoExpiry})
	require.NoError(r.t, err)
}

func (r rig) takeAs(req backend.TakeRequest) []backend.Grant {
	r.t.Helper()
	req.Namespace = ns
	if req.TTL == 0 {
		req.TTL = time.Minute
	}
	if req.Binding != "" && req.BindingTTL == 0 {
		req.BindingTTL = time.Hour
	}
	reply, err := r.Take(r.t.Context(), req)
	require.NoError(r.t, err)
	return reply.Grants
}

// take takes one member for a minute; "" if there is none.
func (r rig) take(token string) string {
	r.t.Helper()
	return first(r.takeAs(backend.TakeRequest{Token: token}))
}

func first(grants []backend.Grant) string {
	if len(grants) == 0 {
		return ""
	}
	return grants[0].Member
}

func members(grants []backend.Grant) []string {
	names := make([]string, len(grants))
	for i, g := range grants {
		names[i] = g.Member
	}
	return names
}

func (r rig) giveBack(member, token string) bool {
	r.t.Helper()
	reply, err := r.Return(r.t.Context(), backend.ReturnRequest{
		Namespace: ns, Items: []backend.Held{{Member: member, Token: token}},
	})
	require.NoError(r.t, err)
	return reply.Returned[0]
}

func (r rig) force(ttl time.Duration, names ...string) []bool {
	r.t.Helper()
	items := make([]backend.Held, len(names))
	for i := range names {
		items[i].Member = names[i]
	}
	reply, err := r.Return(r.t.Context(), backend.ReturnRequest{Namespace: ns, Items: items, Force: true, MemberTTL: ttl})
	require.NoError(r.t, err)
	return reply.Returned
}

func (r rig) renewAs(it backend.Renewal) bool {
	r.t.Helper()
	reply, err := r.Renew(r.t.Context(), backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{it}})
	require.NoError(r.t, err)
	return reply.Renewed[0]
}

func (r rig) renew(member, token string, ttl time.Duration) bool {
	r.t.Helper()
	return r.renewAs(backend.Renewal{Member: member, Token: token, TTL: ttl})
}

func (r rig) collect(n int) backend.CollectReply {
	r.t.Helper()
	reply, err := r.Collect(r.t.Context(), backend.CollectRequest{Namespace: ns, Count: n})
	require.NoError(r.t, err)
	return reply
}

// lock locks a name from outside, as Python's update does.
func (r rig) lock(name string, ttl time.Duration) {
	r.t.Helper()
	_, err := r.Set(r.t.Context(), backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: name, Value: "1", TTL: ttl}}})
	require.NoError(r.t, err)
}

// unlock removes a lock from outside.
func (r rig) unlock(name string) bool {
	r.t.Helper()
	reply, err := r.Delete(r.t.Context(), backend.DeleteRequest{Namespace: ns, Items: []backend.DeleteItem{{Name: name}}})
	require.NoError(r.t, err)
	return reply.Deleted[0]
}

func (r rig) value(kind backend.Kind, name string) backend.Value {
	r.t.Helper()
	values, err := r.Get(r.t.Context(), backend.GetRequest{Namespace: ns, Kind: kind, Names: []string{name}})
	require.NoError(r.t, err)
	return values[0]
}

// inspect sees the whole pool and holds it against the invariants.
func (r rig) inspect() backend.InspectReply {
	r.t.Helper()
	reply, err := r.Inspect(r.t.Context(), backend.InspectRequest{Namespace: ns})
	require.NoError(r.t, err)
	require.Empty(r.t, backend.CheckPool(reply, false))
	return reply
}

// free gives the free list from head to tail.
func (r rig) free() []string {
	r.t.Helper()
	reply := r.inspect()
	next := make(map[string]string)
	for _, m := range reply.Members {
		next[m.Name] = m.Next
	}
	names := []string{}
	for name := reply.Head; name != ""; name = next[name] {
		names = append(names, name)
	}
	return names
}

func (r rig) member(name string) (m backend.MemberState, ok bool) {
	r.t.Helper()
	for _, m := range r.inspect().Members {
		if m.Name == name {
			return m, true
		}
	}
	return m, false
}

func (r rig) enterAs(req backend.EnterRequest) backend.EnterReply {
	r.t.Helper()
	req.Take.Namespace = ns
	if req.Take.TTL == 0 {
		req.Take.TTL = time.Minute
	}
	if req.Take.Binding != "" && req.Take.BindingTTL == 0 {
		req.Take.BindingTTL = time.Hour
	}
	reply, err := r.Enter(r.t.Context(), req)
	require.NoError(r.t, err)
	return reply
}

// wait joins the line, in which it must have to wait.
func (r rig) wait(token string, count, priority int) <-chan backend.Handover {
	r.t.Helper()
	reply := r.enterAs(backend.EnterRequest{Take: backend.TakeRequest{Token: token, Count: count}, Priority: priority})
	require.Empty(r.t, reply.Grants)
	require.NotNil(r.t, reply.Handover)
	return reply.Handover
}

func (r rig) leave(token string) backend.LeaveReply {
	r.t.Helper()
	reply, err := r.Leave(r.t.Context(), backend.LeaveRequest{Namespace: ns, Token: token})
	require.NoError(r.t, err)
	return reply
}

// handed gives the members that were handed over, nil if none were yet.
func (r rig) handed(ch <-chan backend.Handover) []string {
	r.t.Helper()
	select {
	case h := <-ch:
		require.NoError(r.t, h.Err)
		return members(h.Grants)
	default:
		return nil
	}
}

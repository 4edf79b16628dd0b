package backend_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func item(name string, units, limit int) backend.LockItem {
	return backend.LockItem{Name: name, Units: units, Limit: limit}
}

// lockRequest is good until it is changed.
func lockRequest(change func(*backend.LockRequest)) *backend.LockRequest {
	r := &backend.LockRequest{Namespace: ns, Token: "t", TTL: time.Second, Items: []backend.LockItem{{Name: "a"}}}
	change(r)
	return r
}

func manyItems(n int) []backend.LockItem {
	items := make([]backend.LockItem, n)
	for i := range items {
		items[i].Name = strings.Repeat("x", i+1)
	}
	return items
}

func TestRequestsForLocksAcceptWhatTheContractAllows(t *testing.T) {
	with := func(items ...backend.LockItem) *backend.LockRequest {
		return lockRequest(func(r *backend.LockRequest) { r.Items = items })
	}
	for name, r := range map[string]request{
		"lock":           with(item("a", 0, 0)),
		"lock several":   with(item("a", 0, 0), item("b", 2, 2), item("c", 1, 0)),
		"lock most":      with(manyItems(backend.MaxLockNames)...),
		"lock units":     with(item("a", backend.MaxUnits, backend.MaxUnits)),
		"lock no member": with(item("|a||b", 0, 0), item(backend.Allocated, 0, 0), item(backend.SharedToken, 0, 0)),
		"lock for ever":  lockRequest(func(r *backend.LockRequest) { r.TTL = backend.NoExpiry }),
		"lock briefly":   lockRequest(func(r *backend.LockRequest) { r.TTL = time.Millisecond }),
		"lock again":     lockRequest(func(r *backend.LockRequest) { r.Again = true }),
		"downgrade": lockRequest(func(r *backend.LockRequest) {
			r.Downgrade, r.Items = true, []backend.LockItem{item("a", 1, 5)}
		}),
		"lock durably": lockRequest(func(r *backend.LockRequest) {
			r.Durability = backend.Durability{Replicas: backend.BatchLimit, Timeout: time.Millisecond}
		}),
		"lock not durably": lockRequest(func(r *backend.LockRequest) { r.Durability = backend.Durability{Timeout: -1} }),
		"unlock":           &backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: "|a", Token: "t"}, {Member: "|a", Token: "t"}}},
		"unlock by force":  &backend.UnlockRequest{Namespace: ns, Force: true, Items: []backend.Held{{Member: "a"}, {Member: "b", Token: backend.SharedToken}}},
		"limit":            &backend.LimitRequest{Namespace: ns, Name: "a", Limit: backend.MaxUnits},
		"no limit":         &backend.LimitRequest{Namespace: ns, Name: "a"},
		"holders":          &backend.HoldersRequest{Namespace: ns, Names: make100("a")},
		"renew durably":    &backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: 1e9}}, Durability: backend.Durability{Replicas: 1, Timeout: 1e6}},
		"enter":            &backend.EnterRequest{Lock: *with(item("a", 0, 0)), Priority: backend.MaxPriority, ClaimTTL: time.Millisecond},
		"leave":            &backend.LeaveRequest{Namespace: ns, Token: "t", Names: make100("a")},
		"queue":            &backend.QueueRequest{Namespace: ns, Name: "|a", Token: "t", Limit: backend.BatchLimit},
		"members":          &backend.MembersRequest{Namespace: ns, Locks: true},
	} {
		assert.NoError(t, r.Validate(), name)
	}
}

func TestRequestsForLocksRefuseWhatTheContractDoesNot(t *testing.T) {
	good := *lockRequest(func(*backend.LockRequest) {})
	bad := map[string]*backend.LockRequest{}
	add := func(name string, change func(*backend.LockRequest)) { bad[name] = lockRequest(change) }
	for name, items := range map[string][]backend.LockItem{
		"no names":          nil,
		"too many names":    manyItems(backend.MaxLockNames + 1),
		"twice":             {item("a", 0, 0), item("b", 0, 0), item("a", 0, 0)},
		"twice differently": {item("a", 1, 0), item("a", 0, 0)},
		"empty name":        {item("a", 0, 0), item("", 0, 0)},
		"only empty name":   {item("", 0, 0)},
		"NUL":               {item("a\x00", 0, 0)},
		"negative units":    {item("a", -1, 0)},
		"too many units":    {item("a", backend.MaxUnits+1, 0)},
		"negative limit":    {item("a", 1, -1)},
		"too large a limit": {item("a", 1, backend.MaxUnits+1)},
		"limit alone":       {item("a", 0, 1)},
		"over the limit":    {item("a", 0, 0), item("b", 3, 2)},
	} {
		add(name, func(r *backend.LockRequest) { r.Items = items })
	}
	add("no namespace", func(r *backend.LockRequest) { r.Namespace = backend.Namespace{} })
	add("no token", func(r *backend.LockRequest) { r.Token = "" })
	add("reserved token", func(r *backend.LockRequest) { r.Token = backend.SharedToken })
	add("no ttl", func(r *backend.LockRequest) { r.TTL = 0 })
	add("ttl below a ms", func(r *backend.LockRequest) { r.TTL = time.Microsecond })
	for name, r := range bad {
		assert.ErrorIs(t, r.Validate(), backend.ErrInvalid, "lock %s", name)
		if name != "no names" { // that is a request for a pool, and a bad one as well
			assert.ErrorIs(t, (&backend.EnterRequest{Lock: *r}).Validate(), backend.ErrInvalid, "enter %s", name)
		}
	}

	for name, r := range map[string]request{
		"downgrade alone": lockRequest(func(r *backend.LockRequest) { r.Downgrade = true }),
		"downgrade and again": lockRequest(func(r *backend.LockRequest) {
			r.Downgrade, r.Again, r.Items = true, true, []backend.LockItem{item("a", 1, 0)}
		}),
		"replicas": lockRequest(func(r *backend.LockRequest) { r.Durability = backend.Durability{Replicas: -1, Timeout: 1e9} }),
		"too many replicas": lockRequest(func(r *backend.LockRequest) {
			r.Durability = backend.Durability{Replicas: backend.BatchLimit + 1, Timeout: 1e9}
		}),
		"replicas at once": lockRequest(func(r *backend.LockRequest) { r.Durability = backend.Durability{Replicas: 1} }),
		"enter again":      &backend.EnterRequest{Lock: *lockRequest(func(r *backend.LockRequest) { r.Again = true })},
		"enter downgrade": &backend.EnterRequest{Lock: *lockRequest(func(r *backend.LockRequest) {
			r.Downgrade, r.Items = true, []backend.LockItem{item("a", 1, 0)}
		})},
		"enter durably": &backend.EnterRequest{Lock: *lockRequest(func(r *backend.LockRequest) {
			r.Durability = backend.Durability{Replicas: 1, Timeout: 1e9}
		})},
		"enter priority":    &backend.EnterRequest{Lock: good, Priority: -backend.MaxPriority - 1},
		"enter claim":       &backend.EnterRequest{Lock: good, ClaimTTL: -1},
		"unlock nothing":    &backend.UnlockRequest{Namespace: ns},
		"unlock no name":    &backend.UnlockRequest{Namespace: ns, Force: true, Items: []backend.Held{{Token: "t"}}},
		"unlock no token":   &backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: "a"}}},
		"unlock shared":     &backend.UnlockRequest{Namespace: ns, Items: []backend.Held{{Member: "a", Token: backend.SharedToken}}},
		"unlock too many":   &backend.UnlockRequest{Namespace: ns, Force: true, Items: make([]backend.Held, backend.BatchLimit+1)},
		"limit negative":    &backend.LimitRequest{Namespace: ns, Name: "a", Limit: -1},
		"limit too large":   &backend.LimitRequest{Namespace: ns, Name: "a", Limit: backend.MaxUnits + 1},
		"limit of nothing":  &backend.LimitRequest{Namespace: ns, Limit: 1},
		"holders of none":   &backend.HoldersRequest{Namespace: ns},
		"holders of no one": &backend.HoldersRequest{Namespace: ns, Names: []string{"a", "\xff"}},
		"renew at once":     &backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: 1e9}}, Durability: backend.Durability{Replicas: 1}},
		"leave no name":     &backend.LeaveRequest{Namespace: ns, Token: "t", Names: []string{"a", ""}},
		"leave too many":    &backend.LeaveRequest{Namespace: ns, Token: "t", Names: append(make100("a"), "a")},
		"queue no name":     &backend.QueueRequest{Namespace: ns, Name: "\x00"},
		"set shared":        &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", Value: backend.SharedToken, TTL: 1e9}}},
	} {
		assert.ErrorIs(t, r.Validate(), backend.ErrInvalid, name)
	}
	assert.NoError(t, (&backend.SetRequest{
		Namespace: ns, Kind: backend.KindBinding, Items: []backend.SetItem{{Name: "a", Value: backend.SharedToken, TTL: 1e9}},
	}).Validate(), "a binding is no lock")
}

func TestAnEnterRequestIsForNamesOrForMembers(t *testing.T) {
	other := backend.Namespace{Prefix: "other", Suffix: "s"}
	names := backend.EnterRequest{
		Lock: *lockRequest(func(r *backend.LockRequest) { r.Token = "names" }), Take: backend.TakeRequest{Namespace: other, Token: "members"},
	}
	assert.True(t, names.ForLocks())
	assert.Equal(t, "names", names.Owner())
	assert.Equal(t, ns, names.Space())
	require.NoError(t, names.Validate(), "what is not asked for is not looked at")

	members := backend.EnterRequest{Take: backend.TakeRequest{Namespace: other, Token: "members", TTL: time.Second}}
	assert.False(t, members.ForLocks())
	assert.Equal(t, "members", members.Owner())
	assert.Equal(t, other, members.Space())
	require.NoError(t, members.Validate())
}

package backendtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// badOwners are refused as tokens of those who hold names.
var badOwners = append(slices.Clone(badNames), backend.SharedToken)

var invalidLockCases = []Case{
	lockRefusal("locks", func(r *room, try func(what string, err error)) {
		bad := badLocks()
		bad["again and downgrade"] = func(q *backend.LockRequest) {
			q.Again, q.Downgrade, q.Token, q.Items = true, true, "holder", units("a", 1, 0)
		}
		bad["downgrade without units"] = func(q *backend.LockRequest) {
			q.Downgrade, q.Token, q.Items = true, "holder", alone("a")
		}
		bad["replicas"] = func(q *backend.LockRequest) { q.Durability = backend.Durability{Replicas: -1, Timeout: long} }
		bad["too many replicas"] = func(q *backend.LockRequest) {
			q.Durability = backend.Durability{Replicas: backend.BatchLimit + 1, Timeout: long}
		}
		for _, timeout := range []time.Duration{0, -1, time.Millisecond - 1} {
			bad["replica timeout "+timeout.String()] = func(q *backend.LockRequest) {
				q.Durability = backend.Durability{Replicas: 1, Timeout: timeout}
			}
		}
		for what, change := range bad {
			req := backend.LockRequest{Namespace: r.ns, Token: "t", TTL: long, Items: alone("free")}
			change(&req)
			_, err := r.be.Lock(r.ctx, req)
			try("Lock with "+what, err)
		}
	}),
	lockRefusal("lock-lines", func(r *room, try func(what string, err error)) {
		good := backend.LockRequest{Namespace: r.ns, Token: "t", TTL: long, Items: alone("a")}
		bad := badLocks()
		delete(bad, "no names") // is a request for members
		bad["again"] = func(q *backend.LockRequest) { q.Again = true }
		bad["downgrade"] = func(q *backend.LockRequest) { q.Downgrade, q.Items = true, units("a", 1, 0) }
		bad["durability"] = func(q *backend.LockRequest) { q.Durability = backend.Durability{Replicas: 1, Timeout: long} }
		for what, change := range bad {
			req := good
			change(&req)
			_, err := r.be.Enter(r.ctx, backend.EnterRequest{Lock: req})
			try("Enter with "+what, err)
		}
		for _, req := range []backend.EnterRequest{
			{Lock: good, Priority: backend.MaxPriority + 1},
			{Lock: good, Priority: -backend.MaxPriority - 1},
			{Lock: good, ClaimTTL: -1},
			{Lock: good, ClaimTTL: time.Millisecond - 1},
		} {
			_, err := r.be.Enter(r.ctx, req)
			try(fmt.Sprintf("Enter %+v", req), err)
		}
		for _, name := range badNames {
			_, err := r.be.Leave(r.ctx, backend.LeaveRequest{Namespace: r.ns, Token: name, Names: []string{"a"}})
			try(fmt.Sprintf("Leave of %.20q", name), err)
			_, err = r.be.Leave(r.ctx, backend.LeaveRequest{Namespace: r.ns, Token: "waiter", Names: []string{"a", name}})
			try(fmt.Sprintf("Leave the line of %.20q", name), err)
			if name != "" {
				_, err = r.be.Queue(r.ctx, backend.QueueRequest{Namespace: r.ns, Name: name})
				try(fmt.Sprintf("Queue of %.20q", name), err)
				_, err = r.be.Queue(r.ctx, backend.QueueRequest{Namespace: r.ns, Name: "a", Token: name})
				try(fmt.Sprintf("Queue for %.20q", name), err)
			}
		}
		_, err := r.be.Leave(r.ctx, backend.LeaveRequest{Namespace: r.ns, Token: "waiter", Names: numbered(backend.MaxLockNames + 1)})
		try("Leave too many lines", err)
		for _, limit := range []int{-1, backend.BatchLimit + 1} {
			_, err := r.be.Queue(r.ctx, backend.QueueRequest{Namespace: r.ns, Name: "a", Limit: limit})
			try("Queue", err)
		}
	}),
	lockRefusal("unlocking", func(r *room, try func(what string, err error)) {
		mine := backend.Held{Member: "a", Token: "holder"}
		unlock := func(force bool, items ...backend.Held) {
			_, err := r.be.Unlock(r.ctx, backend.UnlockRequest{Namespace: r.ns, Items: items, Force: force})
			try(fmt.Sprintf("Unlock of %.80v, by force: %v", items, force), err)
		}
		good := backend.Renewal{Member: "a", Token: "holder", TTL: backend.NoExpiry}
		renew := func(items ...backend.Renewal) {
			_, err := r.be.RenewLocks(r.ctx, backend.RenewRequest{Namespace: r.ns, Items: items})
			try(fmt.Sprintf("RenewLocks of %.80v", items), err)
		}
		for _, name := range badNames {
			for _, force := range []bool{false, true} {
				unlock(force, mine, backend.Held{Member: name, Token: "t"})
			}
			renew(good, backend.Renewal{Member: name, Token: "t", TTL: long})
			renew(good, backend.Renewal{Member: "b", Token: name, TTL: long})
		}
		for _, token := range badOwners {
			unlock(false, mine, backend.Held{Member: "b", Token: token})
		}
		for _, ttl := range badTTLs {
			renew(good, backend.Renewal{Member: "b", Token: "t", TTL: ttl})
		}
		renew(good, backend.Renewal{Member: "b", Token: "t", TTL: long, NewToken: "u"})
		renew(backend.Renewal{Member: "a", Token: "holder", TTL: long, NewToken: "u"})
		for _, n := range []int{0, backend.BatchLimit + 1} {
			unlock(false, slices.Repeat([]backend.Held{mine}, n)...)
			unlock(true, slices.Repeat([]backend.Held{mine}, n)...)
			renew(slices.Repeat([]backend.Renewal{good}, n)...)
		}
		_, err := r.be.RenewLocks(r.ctx, backend.RenewRequest{
			Namespace: r.ns, Items: []backend.Renewal{good}, Durability: backend.Durability{Replicas: 1},
		})
		try("RenewLocks without a replica timeout", err)
	}),
	lockRefusal("limits", func(r *room, try func(what string, err error)) {
		for _, name := range badNames {
			try(fmt.Sprintf("SetLimit of %.20q", name), r.be.SetLimit(r.ctx, backend.LimitRequest{Namespace: r.ns, Name: name, Limit: 1}))
			_, err := r.be.Holders(r.ctx, backend.HoldersRequest{Namespace: r.ns, Names: []string{"a", name}})
			try(fmt.Sprintf("Holders of %.20q", name), err)
		}
		for _, limit := range []int{-1, backend.MaxUnits + 1} {
			for _, name := range []string{"a", "b"} {
				try("SetLimit", r.be.SetLimit(r.ctx, backend.LimitRequest{Namespace: r.ns, Name: name, Limit: limit}))
			}
		}
		for _, names := range [][]string{nil, many()} {
			_, err := r.be.Holders(r.ctx, backend.HoldersRequest{Namespace: r.ns, Names: names})
			try("Holders", err)
		}
		for _, each := range []bool{false, true} {
			_, err := r.be.Set(r.ctx, backend.SetRequest{Namespace: r.ns, Each: each, Items: []backend.SetItem{
				item("a", "v", backend.Always, ""), item("free", backend.SharedToken, backend.Always, ""),
			}})
			try("Set to SharedToken", err)
		}
	}),
}

// badLocks are ways to spoil a request for names that is good otherwise.
func badLocks() map[string]func(*backend.LockRequest) {
	items := func(items ...backend.LockItem) func(*backend.LockRequest) {
		return func(q *backend.LockRequest) { q.Items = items }
	}
	bad := map[string]func(*backend.LockRequest){
		"no names":                items(),
		"too many names":          items(alone(numbered(backend.MaxLockNames + 1)...)...),
		"a name twice":            items(alone("x", "y", "x")...),
		"a name twice in a row":   items(alone("x", "x")...),
		"a name twice, in units":  items(append(units("x", 1, 0), alone("x")...)...),
		"negative units":          items(units("x", -1, 0)...),
		"negative units of many":  items(append(alone("y"), units("x", -1, 3)...)...),
		"too many units":          items(units("x", backend.MaxUnits+1, 0)...),
		"a negative limit":        items(units("x", 1, -1)...),
		"a limit that is too big": items(units("x", 1, backend.MaxUnits+1)...),
		"a limit without units":   items(units("x", 0, 3)...),
		"units over the limit":    items(units("x", 4, 3)...),
	}
	for _, name := range badNames {
		bad[fmt.Sprintf("name %.20q", name)] = items(alone(name)...)
		bad[fmt.Sprintf("last name %.20q", name)] = items(alone("x", "y", name)...)
	}
	for _, token := range badOwners {
		bad[fmt.Sprintf("token %.20q", token)] = func(q *backend.LockRequest) { q.Token = token }
	}
	for _, ttl := range badTTLs {
		bad["ttl "+ttl.String()] = func(q *backend.LockRequest) { q.TTL = ttl }
	}
	long := strings.Repeat("x", backend.MaxNameLen+1)
	bad["a long token"] = func(q *backend.LockRequest) { q.Token = long }
	return bad
}

// lockRefusal is a case with a name that is held alone and one that is shared, with somebody in line, whose state must
// not change.
func lockRefusal(name string, run func(r *room, try func(what string, err error))) Case {
	return Case{
		Name: name, Sentence: refuses,
		check: func(r *room) {
			r.has("holder", "a")
			r.gets(backend.LockRequest{Token: "holder", Items: units("b", 2, 2)})
			r.waits("waiter", append(alone("a"), units("b", 1, 2)...))
			r.steady("an invalid request", func() { run(r, r.refused) }, "a", "b", "free", "x", "y")
			r.heldBy("a", "holder")
			r.lives("the lease", r.lock("a").TTL, long)
			r.lives("the lease", r.lock("b").TTL, long)
			r.inLine("a", "waiter")
			r.inLine("b", "waiter")
		},
	}
}

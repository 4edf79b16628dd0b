package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// badNames are refused wherever a name is asked for; badMembers are refused in pools, besides.
var (
	badNames   = []string{"", "a\x00b", "\x00", "\xff", "a\xc3", strings.Repeat("x", backend.MaxNameLen+1)}
	badMembers = append(slices.Clone(badNames), "a||b", "||", "a|||b", "|a", "|", backend.Allocated)
	badTTLs    = []time.Duration{0, -2, -time.Second, time.Millisecond - 1, time.Microsecond}
	badSpaces  = []backend.Namespace{
		{},
		{Prefix: "p"},
		{Suffix: "s"},
		{Prefix: "a\x00", Suffix: "s"},
		{Prefix: "p", Suffix: "\xff"},
		{Prefix: strings.Repeat("x", backend.MaxNameLen+1), Suffix: "s"},
		{Prefix: "a{b", Suffix: "s", HashTag: true},
		{Prefix: "p", Suffix: "}", HashTag: true},
	}
)

// many gives more names than one batch may have.
func many() []string { return numbered(backend.BatchLimit + 1) }

const refuses = "ErrInvalid: a request that breaks the contract. Nothing was sent and nothing has changed."

var invalidCases = []Case{
	refusal("namespaces", func(r *room, try func(what string, err error)) {
		for _, ns := range badSpaces {
			for name, call := range r.calls(ns) {
				try(fmt.Sprintf("%s in %+.40q", name, ns), call(r.ctx))
			}
		}
	}),
	refusal("values", func(r *room, try func(what string, err error)) {
		get := func(kind backend.Kind, names ...string) {
			_, err := r.be.Get(r.ctx, backend.GetRequest{Namespace: r.ns, Kind: kind, Names: names})
			try(fmt.Sprintf("Get of %d %.20q", kind, names), err)
		}
		set := func(kind backend.Kind, items ...backend.SetItem) {
			for _, each := range []bool{false, true} {
				_, err := r.be.Set(r.ctx, backend.SetRequest{Namespace: r.ns, Kind: kind, Each: each, Items: items})
				try(fmt.Sprintf("Set of %d %.80q", kind, items), err)
			}
		}
		del := func(kind backend.Kind, items ...backend.DeleteItem) {
			for _, each := range []bool{false, true} {
				_, err := r.be.Delete(r.ctx, backend.DeleteRequest{Namespace: r.ns, Kind: kind, Each: each, Items: items})
				try(fmt.Sprintf("Delete of %d %.80q", kind, items), err)
			}
		}
		good := item("a", "bad", backend.Always, "")
		for _, name := range badNames {
			get(backend.KindLock, "a", name)
			set(backend.KindLock, good, item(name, "bad", backend.Always, ""))
			del(backend.KindLock, backend.DeleteItem{Name: "a"}, backend.DeleteItem{Name: name})
		}
		for _, ttl := range badTTLs {
			set(backend.KindLock, good, backend.SetItem{Name: "b", Value: "bad", TTL: ttl})
		}
		for _, operand := range noNumbers {
			set(backend.KindLock, good, item("b", "1", backend.IfGreater, operand))
			del(backend.KindLock, backend.DeleteItem{Name: "a"}, backend.DeleteItem{Name: "b", Cond: backend.IfNumEqual, Operand: operand})
		}
		big := strings.Repeat("x", backend.MaxNameLen+1)
		set(backend.KindLock, good, item("b", big, backend.Always, ""))
		set(backend.KindLock, good, item("b", "v", backend.IfEqual, big))
		set(backend.KindLock, good, item("b", "v", 99, ""))
		del(backend.KindLock, backend.DeleteItem{Name: "a"}, backend.DeleteItem{Name: "b", Cond: 99})
		get(9, "a")
		set(9, good)
		del(9, backend.DeleteItem{Name: "a"})
		get(backend.KindLock)
		set(backend.KindLock)
		del(backend.KindLock)
		get(backend.KindLock, many()...)
		set(backend.KindLock, slices.Repeat([]backend.SetItem{good}, backend.BatchLimit+1)...)
		del(backend.KindLock, slices.Repeat([]backend.DeleteItem{{Name: "a"}}, backend.BatchLimit+1)...)
		for _, req := range []backend.ScanRequest{{Kind: 9}, {Limit: -1}, {Limit: backend.BatchLimit + 1}} {
			req.Namespace = r.ns
			_, err := r.be.Scan(r.ctx, req)
			try(fmt.Sprintf("Scan %+v", req), err)
		}
	}),
	{
		Name: "sets", Sentence: refuses,
		check: func(r *room) {
			r.add("a", "b")
			try := func(what string, err error) { r.refused(what, err) }
			for _, name := range badNames {
				_, err := r.be.Add(r.ctx, r.edit("c", name))
				try("Add", err)
				_, err = r.be.Remove(r.ctx, r.edit("a", name))
				try("Remove", err)
				try("Replace", r.be.Replace(r.ctx, r.edit("c", name)))
				_, err = r.be.Members(r.ctx, backend.MembersRequest{Namespace: r.ns, Among: []string{"a", name}})
				try("Members", err)
			}
			for _, req := range []backend.MembersRequest{{Among: many()}, {Limit: -1}, {Limit: backend.BatchLimit + 1}} {
				req.Namespace = r.ns
				_, err := r.be.Members(r.ctx, req)
				try("Members", err)
			}
			r.inSet(0, "a", "b")
			r.ok(r.be.Replace(r.ctx, r.edit()), "Replace") // the key would be that of a pool, too
		},
	},
	refusal("edits", func(r *room, try func(what string, err error)) {
		edit := func(ttl time.Duration, members ...string) {
			req := backend.ExtendRequest{Namespace: r.ns, Members: members, TTL: ttl}
			_, err := r.be.Extend(r.ctx, req)
			try(fmt.Sprintf("Extend %.20q for %v", members, ttl), err)
			_, err = r.be.Assign(r.ctx, req)
			try(fmt.Sprintf("Assign %.20q for %v", members, ttl), err)
		}
		for _, m := range badMembers {
			edit(long, "new", m)
			_, err := r.be.Shrink(r.ctx, backend.ShrinkRequest{Namespace: r.ns, Members: []string{"a", m}})
			try(fmt.Sprintf("Shrink %.20q", m), err)
		}
		for _, ttl := range badTTLs {
			edit(ttl, "new")
		}
		edit(long, append(numbered(2*backend.BatchLimit), "")...)
		_, err := r.be.Shrink(r.ctx, backend.ShrinkRequest{Namespace: r.ns, Members: append([]string{"a"}, append(numbered(2*backend.BatchLimit), "")...)})
		try("Shrink of many", err)
	}),
	refusal("requests", func(r *room, try func(what string, err error)) {
		good := backend.TakeRequest{Namespace: r.ns, Token: "t", TTL: long}
		for what, change := range badTakes() {
			req := good
			change(&req)
			_, err := r.be.Take(r.ctx, req)
			try("Take with "+what, err)
			_, err = r.be.Enter(r.ctx, backend.EnterRequest{Take: req})
			try("Enter with "+what, err)
		}
		for _, req := range []backend.EnterRequest{
			{Take: good, Priority: backend.MaxPriority + 1},
			{Take: good, Priority: -backend.MaxPriority - 1},
			{Take: good, ClaimTTL: -1},
			{Take: good, ClaimTTL: time.Millisecond - 1},
			{Take: backend.TakeRequest{Namespace: r.ns, Token: "t", TTL: long, Only: true, Prefer: []string{"b"}}},
		} {
			_, err := r.be.Enter(r.ctx, req)
			try(fmt.Sprintf("Enter %+v", req), err)
		}
		for _, token := range badNames {
			_, err := r.be.Leave(r.ctx, backend.LeaveRequest{Namespace: r.ns, Token: token})
			try(fmt.Sprintf("Leave %.20q", token), err)
			if token != "" {
				_, err = r.be.Queue(r.ctx, backend.QueueRequest{Namespace: r.ns, Token: token})
				try(fmt.Sprintf("Queue %.20q", token), err)
			}
		}
		for _, limit := range []int{-1, backend.BatchLimit + 1} {
			_, err := r.be.Queue(r.ctx, backend.QueueRequest{Namespace: r.ns, Limit: limit})
			try("Queue", err)
			_, err = r.be.Inspect(r.ctx, backend.InspectRequest{Namespace: r.ns, Limit: limit})
			try("Inspect", err)
			_, err = r.be.Collect(r.ctx, backend.CollectRequest{Namespace: r.ns, Count: limit})
			try("Collect", err)
		}
		_, err := r.be.Collect(r.ctx, backend.CollectRequest{Namespace: r.ns})
		try("Collect of none", err)
		_, err = r.be.Inspect(r.ctx, backend.InspectRequest{Namespace: r.ns, Only: many()})
		try("Inspect of many", err)
		_, err = r.be.Inspect(r.ctx, backend.InspectRequest{Namespace: r.ns, Only: []string{"a||b"}})
		try("Inspect of no member", err)
	}),
	refusal("leases", func(r *room, try func(what string, err error)) {
		mine := backend.Held{Member: "a", Token: "holder"}
		give := func(req backend.ReturnRequest) {
			req.Namespace = r.ns
			_, err := r.be.Return(r.ctx, req)
			try(fmt.Sprintf("Return %.80v", req), err)
		}
		renew := func(items ...backend.Renewal) {
			_, err := r.be.Renew(r.ctx, backend.RenewRequest{Namespace: r.ns, Items: items})
			try(fmt.Sprintf("Renew %.80v", items), err)
		}
		good := backend.Renewal{Member: "a", Token: "holder", TTL: 2 * long, NewToken: "other"}
		for _, bad := range badMembers {
			give(backend.ReturnRequest{Items: []backend.Held{mine, {Member: bad, Token: "t"}}})
			give(backend.ReturnRequest{Force: true, MemberTTL: long, Items: []backend.Held{mine, {Member: bad}}})
		}
		for _, bad := range badNames {
			give(backend.ReturnRequest{Items: []backend.Held{mine, {Member: "b", Token: bad}}})
			renew(good, backend.Renewal{Member: bad, Token: "t", TTL: long})
			renew(good, backend.Renewal{Member: "b", Token: bad, TTL: long})
			if bad != "" {
				renew(good, backend.Renewal{Member: "b", Token: "t", TTL: long, NewToken: bad})
			}
		}
		for _, ttl := range badTTLs {
			give(backend.ReturnRequest{Force: true, MemberTTL: ttl, Items: []backend.Held{mine}})
			renew(good, backend.Renewal{Member: "b", Token: "t", TTL: ttl})
		}
		give(backend.ReturnRequest{})
		give(backend.ReturnRequest{Items: slices.Repeat([]backend.Held{mine}, backend.BatchLimit+1)})
		renew()
		renew(slices.Repeat([]backend.Renewal{good}, backend.BatchLimit+1)...)
	}),
}

// badTakes are ways to spoil a request that is good otherwise.
func badTakes() map[string]func(*backend.TakeRequest) {
	bad := map[string]func(*backend.TakeRequest){
		"negative count":   func(q *backend.TakeRequest) { q.Count = -1 },
		"large count":      func(q *backend.TakeRequest) { q.Count = backend.MaxTake + 1 },
		"large preference": func(q *backend.TakeRequest) { q.Prefer = many() },
		"only nothing":     func(q *backend.TakeRequest) { q.Only = true },
		"a binding with only": func(q *backend.TakeRequest) {
			q.Binding, q.BindingTTL, q.Only, q.Prefer = "n", long, true, []string{"b"}
		},
		"negative collection":    func(q *backend.TakeRequest) { q.Collect = -1 },
		"large collection":       func(q *backend.TakeRequest) { q.Collect = backend.BatchLimit + 1 },
		"a binding for several":  func(q *backend.TakeRequest) { q.Binding, q.BindingTTL, q.Count = "n", long, 2 },
		"a binding without TTL":  func(q *backend.TakeRequest) { q.Binding = "n" },
		"a binding with bad TTL": func(q *backend.TakeRequest) { q.Binding, q.BindingTTL = "n", -2 },
	}
	for _, name := range badNames {
		bad[fmt.Sprintf("token %.20q", name)] = func(q *backend.TakeRequest) { q.Token = name }
		bad[fmt.Sprintf("shared token %.20q", name)] = func(q *backend.TakeRequest) { q.Token, q.Shared = name, true }
		if name != "" {
			bad[fmt.Sprintf("binding %.20q", name)] = func(q *backend.TakeRequest) { q.Binding, q.BindingTTL = name, long }
		}
	}
	for _, name := range badMembers {
		bad[fmt.Sprintf("preference %.20q", name)] = func(q *backend.TakeRequest) { q.Prefer = []string{"b", name} }
	}
	for _, ttl := range badTTLs {
		bad["ttl "+ttl.String()] = func(q *backend.TakeRequest) { q.TTL = ttl }
	}
	return bad
}

// refusal is a case in a pool with a leased and a free member, whose state must not change.
func refusal(name string, run func(r *room, try func(what string, err error))) Case {
	return Case{
		Name: name, Sentence: refuses,
		check: func(r *room) {
			r.extend("a", "b")
			r.one("holder")
			r.unchanged("an invalid request", func() { run(r, r.refused) })
			r.owner("a", "holder")
			r.lives("the lease", r.lock("a").TTL, long)
			r.queued()
		},
	}
}

// refused expects ErrInvalid, in a form that says what was wrong.
func (r *room) refused(what string, err error) {
	r.tb.Helper()
	var detail *backend.InvalidError
	switch {
	case !errors.Is(err, backend.ErrInvalid):
		r.Errorf("%s: got error %v, want ErrInvalid", what, err)
	case !errors.As(err, &detail) || detail.Field == "" || detail.Reason == "":
		r.Errorf("%s: the error %v does not say what was wrong", what, err)
	}
}

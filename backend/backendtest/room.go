package backendtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	// long is the lifetime of what must not run out while a case looks.
	long = time.Hour
	// short is the lifetime of what a case waits to see run out.
	short = 60 * time.Millisecond
	// passing is the claim of a waiter who does not take it up: it runs out, though hardly before its message has come. Else
	// the waiter, who does not know of it, enters again.
	passing = 10 * short
	// kept is the claim of all others: it does not run out while a case looks, and ends before a long lease.
	kept = long / 4
	// patience is how long a case waits for what must happen.
	patience = time.Minute
	// glance is the pause between two looks, longGlance the longest one at what is known to last for a while.
	glance     = 5 * time.Millisecond
	longGlance = 200 * time.Millisecond
)

// room is where one case works: a backend, a namespace of its own, and short names for what cases often do. What it
// asks of the backend must succeed; cases that expect an error call the backend themselves.
type room struct {
	tb       TB
	be       backend.Backend
	ctx      context.Context //nolint:containedctx // a room lives as long as one test
	ns       backend.Namespace
	sentence string

	exclusive bool // whether a free member with a lock breaks an invariant: not if the case set one by hand
	poolless  bool // whether there is no pool to look at in the end: it is a set, or the backend is closed
}

func newNamespace() backend.Namespace {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return backend.Namespace{Prefix: "backendtest-" + hex.EncodeToString(b[:]), Suffix: "allocator"}
}

// ok ends the case at an error.
func (r *room) ok(err error, doing string) {
	r.tb.Helper()
	if err != nil {
		r.Fatalf("%s: %v", doing, err)
	}
}

// eventually looks until seen is satisfied.
func (r *room) eventually(what string, seen func() bool) {
	r.tb.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for !seen() {
		select {
		case <-tick.C:
		case <-end.C:
			r.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// longerAndLonger gives lifetimes within which the caller has to do something, and may break off when it was in time. On a
// machine that stands still for a moment the first ones may be too short.
func (r *room) longerAndLonger() iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		r.tb.Helper()
		for ttl := 4 * short; ttl < patience; ttl *= 2 {
			if !yield(ttl) {
				return
			}
			r.tb.Logf("it was too late after %v", ttl)
		}
		r.Fatalf("whatever the lifetime, it was too late")
	}
}

// pass lets time pass on the server's clock: it writes a value that lives that long and looks until it is gone.
func (r *room) pass(d time.Duration) {
	r.tb.Helper()
	r.set("backendtest-clock", "ticking", d)
	r.gone("backendtest-clock")
}

// The verbs of values.

func (r *room) set(name, value string, ttl time.Duration) {
	r.tb.Helper()
	item := backend.SetItem{Name: name, Value: value, TTL: ttl}
	_, err := r.be.Set(r.ctx, backend.SetRequest{Namespace: r.ns, Items: []backend.SetItem{item}})
	r.ok(err, "Set "+name)
}

// lockByHand sets a lock as an administrator or Python does, without a word to the pool.
func (r *room) lockByHand(member string) {
	r.tb.Helper()
	r.exclusive = false
	r.set(member, "1", backend.NoExpiry)
}

// unlockByHand removes a lock without a word to the pool.
func (r *room) unlockByHand(members ...string) {
	r.tb.Helper()
	items := make([]backend.DeleteItem, len(members))
	for i, m := range members {
		items[i].Name = m
	}
	_, err := r.be.Delete(r.ctx, backend.DeleteRequest{Namespace: r.ns, Items: items})
	r.ok(err, "Delete")
}

func (r *room) get(kind backend.Kind, name string) backend.Value {
	r.tb.Helper()
	got, err := r.be.Get(r.ctx, backend.GetRequest{Namespace: r.ns, Kind: kind, Names: []string{name}})
	r.ok(err, "Get "+name)
	if len(got) != 1 {
		r.Fatalf("Get of one name gave %d values", len(got))
	}
	return got[0]
}

func (r *room) lock(name string) backend.Value {
	r.tb.Helper()
	return r.get(backend.KindLock, name)
}

func (r *room) bound(name string) string {
	r.tb.Helper()
	return r.get(backend.KindBinding, name).Value
}

// gone looks until a lock has run out.
func (r *room) gone(name string) {
	r.tb.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for v := r.lock(name); v.Exists; v = r.lock(name) {
		pause := time.NewTimer(min(max(v.TTL, time.Millisecond), longGlance))
		select {
		case <-pause.C:
		case <-end.C:
			pause.Stop()
			r.Fatalf("waited %v in vain: that %q runs out", patience, name)
		}
	}
}

// names gives the members of grants, in their order.
func names(grants []backend.Grant) []string {
	var got []string
	for _, g := range grants {
		got = append(got, g.Member)
	}
	return got
}

// numbered gives n names: "m0000", "m0001", ...
func numbered(n int) []string {
	got := make([]string, n)
	for i := range got {
		got[i] = fmt.Sprintf("m%04d", i)
	}
	return got
}

// unique sorts names and drops repetitions.
func unique(names []string) []string {
	seen := map[string]bool{}
	for _, n := range names {
		seen[n] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

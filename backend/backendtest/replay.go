package backendtest

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Replay replays recordings of the Python library, one subtest each by its name, on backends that open gives, one for
// each, and compares every reply and the state after every step. The recordings come with the package;
// [TracesVariable] can name others.
func Replay(t *testing.T, open func(t *testing.T) backend.Backend) {
	t.Helper()
	replay(t, func(t *testing.T, rec *Recording) { replayOne(t, rec, open) })
}

// ReplayBubble is [Replay] with each recording in a testing/synctest bubble of its own, in which open is called, too.
func ReplayBubble(t *testing.T, open func(t *testing.T) backend.Backend) {
	t.Helper()
	replay(t, func(t *testing.T, rec *Recording) {
		synctest.Test(t, func(t *testing.T) { replayOne(t, rec, open) })
	})
}

func replay(t *testing.T, one func(*testing.T, *Recording)) {
	t.Helper()
	all, err := Recordings()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		t.Run(all[i].Name, func(t *testing.T) { one(t, &all[i]) })
	}
}

func replayOne(t *testing.T, rec *Recording, open func(t *testing.T) backend.Backend) {
	t.Helper()
	be := open(t)
	defer closing(t, be)
	rec.Check(t, be, nil)
}

// Check replays the recording against be, in a namespace that begins like the recorded one and is new each time. If read
// is not nil, it reads the state after each step by other means, for instance from the keys in Redis, with the locks and
// bindings of the given names; what it reads is compared as well.
func (rec *Recording) Check(tb TB, be backend.Backend, read func(ns backend.Namespace, locks, binds []string) State) {
	tb.Helper()
	ns := newNamespace()
	ns.Prefix, ns.Suffix = rec.Prefix+"-"+ns.Prefix, rec.Suffix
	r := &room{
		tb: tb, be: be, ctx: tb.Context(), ns: ns,
		sentence: "a Python process and a Go process can share one pool, one lock namespace and one set of bindings",
	}
	locks, binds := rec.lockNames(), rec.bindNames()
	for i := range rec.Steps {
		step := &rec.Steps[i]
		doing := fmt.Sprintf("step %d, %s", i, step.Op)
		reply := r.step(rec, step, doing)
		if want, ok := step.reply(); ok && reply != want {
			r.Fatalf("%s: got reply %s, want %s", doing, reply, want)
		}
		want := text(step.State)
		if have := text(r.state(locks, binds)); have != want {
			r.Fatalf("%s: the state is\n%s\nand should be\n%s", doing, have, want)
		}
		if read == nil {
			continue
		}
		if have := text(read(ns, locks, binds)); have != want {
			r.Fatalf("%s: the state, read by other means, is\n%s\nand should be\n%s", doing, have, want)
		}
	}
}

// step carries out one operation and gives its reply as JSON.
func (r *room) step(rec *Recording, s *Step, doing string) string {
	r.tb.Helper()
	var err error
	var reply any
	switch s.Op {
	case "extend":
		_, err = r.be.Extend(r.ctx, backend.ExtendRequest{Namespace: r.ns, Members: s.Keys, TTL: lifetime(s.Timeout)})
	case "assign":
		_, err = r.be.Assign(r.ctx, backend.ExtendRequest{Namespace: r.ns, Members: s.Keys, TTL: lifetime(s.Timeout)})
	case "clear":
		_, err = r.be.Assign(r.ctx, backend.ExtendRequest{Namespace: r.ns, TTL: backend.NoExpiry})
	case "shrink":
		_, err = r.be.Shrink(r.ctx, backend.ShrinkRequest{Namespace: r.ns, Members: s.Keys})
	case "malloc":
		var got backend.TakeReply
		got, err = r.be.Take(r.ctx, backend.TakeRequest{
			Namespace: r.ns, Token: backend.NewToken(), TTL: lifetime(s.Timeout), Shared: rec.Shared,
			Binding: s.Name, BindingTTL: lifetime(s.CacheTimeout),
		})
		if len(got.Grants) > 0 {
			reply = got.Grants[0].Member
		}
	case "free":
		req := backend.ReturnRequest{Namespace: r.ns, Force: true, MemberTTL: lifetime(s.Timeout)}
		for _, k := range s.Keys {
			req.Items = append(req.Items, backend.Held{Member: k})
		}
		if len(req.Items) > 0 {
			_, err = r.be.Return(r.ctx, req)
		}
	case "gc":
		_, err = r.be.Collect(r.ctx, backend.CollectRequest{Namespace: r.ns, Count: backend.BatchLimit})
	case "lapse", "unlock":
		var got backend.DeleteReply
		got, err = r.be.Delete(r.ctx, backend.DeleteRequest{Namespace: r.ns, Items: []backend.DeleteItem{{Name: s.Key}}})
		reply = err == nil && got.Deleted[0]
	case "update":
		_, err = r.be.Set(r.ctx, backend.SetRequest{
			Namespace: r.ns, Items: []backend.SetItem{{Name: s.Key, Value: "1", TTL: lifetime(s.Timeout)}},
		})
	default:
		r.Fatalf("%s: no such operation is known", doing)
	}
	r.ok(err, doing)
	return text(reply)
}

// lifetime is what a recording means by a number of seconds: none and less are no end.
func lifetime(seconds float64) time.Duration {
	if seconds <= 0 {
		return backend.NoExpiry
	}
	return time.Duration(seconds * float64(time.Second))
}

// state reads the state of the pool, with the locks and the bindings of the given names, in the form of a recording.
func (r *room) state(locks, binds []string) State {
	r.tb.Helper()
	pool := r.pool()
	got := State{
		Pool: map[string][3]string{}, Head: pool.Head, Tail: pool.Tail,
		Locks: map[string]string{}, Binds: map[string][2]string{},
	}
	for _, m := range pool.Members {
		expiry := "-1"
		if !m.Expiry.IsZero() {
			expiry = "set"
		}
		got.Pool[m.Name] = [3]string{m.Prev, m.Next, expiry}
	}
	for i, v := range r.values(backend.KindLock, locks) {
		if v.Exists {
			got.Locks[locks[i]] = ends(v)
		}
	}
	for i, v := range r.values(backend.KindBinding, binds) {
		if v.Exists {
			got.Binds[binds[i]] = [2]string{v.Value, ends(v)}
		}
	}
	return got
}

func (r *room) values(kind backend.Kind, names []string) []backend.Value {
	r.tb.Helper()
	if len(names) == 0 {
		return nil
	}
	got, err := r.be.Get(r.ctx, backend.GetRequest{Namespace: r.ns, Kind: kind, Names: names})
	r.ok(err, "Get")
	if len(got) != len(names) {
		r.Fatalf("Get of %d names gave %d values", len(names), len(got))
	}
	return got
}

func ends(v backend.Value) string {
	if v.TTL == backend.NoExpiry {
		return "none"
	}
	return "some"
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

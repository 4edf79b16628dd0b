package backendtest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// equal compares with reflect.DeepEqual.
func (r *room) equal(what string, got, want any) {
	r.tb.Helper()
	if !reflect.DeepEqual(got, want) {
		r.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// same compares lists of names with their order.
func (r *room) same(what string, got, want []string) {
	r.tb.Helper()
	if !slices.Equal(got, want) {
		r.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// sameSet compares lists of names without their order.
func (r *room) sameSet(what string, got, want []string) {
	r.tb.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		r.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// yes and no read better than equal.

func (r *room) yes(what string, got bool) {
	r.tb.Helper()
	if !got {
		r.Errorf("not so: %s", what)
	}
}

func (r *room) no(what string, got bool) {
	r.tb.Helper()
	if got {
		r.Errorf("should not be so: %s", what)
	}
}

// fails expects an error that is target.
func (r *room) fails(doing string, err, target error) {
	r.tb.Helper()
	if !errors.Is(err, target) {
		r.Errorf("%s: got error %v, want %v", doing, err, target)
	}
}

// lives expects what is left of a lifetime that was set to ttl a moment ago.
func (r *room) lives(what string, left, ttl time.Duration) {
	r.tb.Helper()
	switch {
	case ttl == backend.NoExpiry && left != backend.NoExpiry:
		r.Errorf("%s: %v are left, want NoExpiry", what, left)
	case ttl != backend.NoExpiry && (left <= ttl-time.Minute || left > ttl+time.Millisecond || left <= 0):
		r.Errorf("%s: %v are left, want almost %v", what, left, ttl)
	}
}

// ascending expects each number to be larger than those before it.
func (r *room) ascending(what string, fences ...int64) {
	r.tb.Helper()
	for i, f := range fences {
		if f <= 0 || i > 0 && f <= fences[i-1] {
			r.Errorf("%s: fences %v do not grow", what, fences)
			return
		}
	}
}

// view is what can be compared of a pool at two moments, or in two places: no clocks in it.
type view struct {
	Head, Tail     string
	Total, Waiting int
	Members        map[string]memberView
}

type memberView struct {
	Prev, Next   string
	Expires      bool
	Locked, Ends bool
	Owner        string
	Lease, Quiet bool // has a deadline; is quarantined
}

func viewOf(p backend.InspectReply) view {
	v := view{Head: p.Head, Tail: p.Tail, Total: p.Total, Waiting: p.Waiting, Members: map[string]memberView{}}
	for _, m := range p.Members {
		v.Members[m.Name] = memberView{
			Prev: m.Prev, Next: m.Next, Expires: !m.Expiry.IsZero(),
			Locked: m.Locked, Ends: m.Locked && m.TTL != backend.NoExpiry, Owner: m.Owner,
			Lease: m.Locked && !m.Deadline.IsZero(), Quiet: backend.IsQuarantine(m.Owner),
		}
	}
	return v
}

// unchanged runs do and expects the pool to be as it was before.
func (r *room) unchanged(what string, do func()) {
	r.tb.Helper()
	before := viewOf(r.pool())
	do()
	if after := viewOf(r.pool()); !reflect.DeepEqual(before, after) {
		r.Errorf("%s has changed the pool from %+v to %+v", what, before, after)
	}
}

// cancelled gives a context that has ended.
func cancelled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

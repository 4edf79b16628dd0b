// Package model_test drives two backends side by side with random operations of several clients, and compares every
// reply, the whole state and the invariants after each.
package model_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
)

const (
	// long outlives every run; fleeting is waited out in the step that sets it.
	long     = time.Hour
	fleeting = 10 * time.Millisecond
	// fleetingClaim runs out before anybody takes it up, but not before its message has come: else the waiter, who does not
	// know of it, would enter again.
	fleetingClaim = 100 * time.Millisecond
	// patience is for what a backend does by itself while requests wait.
	patience = time.Minute
)

// pair is two backends in one run, and what the run knows about them.
type pair struct {
	t   *rapid.T
	ctx context.Context //nolint:containedctx // a pair lives as long as one run
	be  [2]backend.Backend
	ns  backend.Namespace

	drawn   int      // tokens
	tokens  []string // drawn for requests that were granted or wait, and some that were not
	fences  [2]int64 // the largest so far
	settled [2]int64 // the largest when both sides were last compared
	waiters map[string]*waiter
	claims  map[string]bool // tokens that were handed something, by a wait that was not given up
	expires bool            // whether this run may wait for members to expire
}

// waiter is one request that waits on both sides.
type waiter struct {
	handover [2]<-chan backend.Handover
	fleeting bool               // its claim is never taken up
	items    []backend.LockItem // that it waits for, if those are names
}

// mismatch fails the run.
func (p *pair) mismatch(what string, a, b any) {
	p.t.Helper()
	p.t.Fatalf("%s: the first says\n%+v\nthe second says\n%+v", what, a, b)
}

// sentinels are the errors that both sides have to agree on.
var sentinels = []error{
	backend.ErrInvalid, backend.ErrClosed, backend.ErrUnavailable, backend.ErrWrongType, backend.ErrPermission,
	backend.ErrUnsupported, backend.ErrNotNumber, backend.ErrLimit, backend.ErrConflict,
}

// both asks both sides the same. Their errors have to be the same.
func both[R any](p *pair, what string, ask func(ctx context.Context, be backend.Backend) (R, error)) (replies [2]R) {
	p.t.Helper()
	var errs [2]error
	for i, be := range p.be {
		replies[i], errs[i] = ask(p.ctx, be)
	}
	if (errs[0] == nil) != (errs[1] == nil) {
		p.mismatch(what, errs[0], errs[1])
	}
	if errs[0] == nil {
		return replies
	}
	if !p.sameError(what, errs) {
		p.t.Fatalf("%s: %v", what, errs[0])
	}
	return replies
}

// sameError compares the errors of both sides, and reports whether they are known.
func (p *pair) sameError(what string, errs [2]error) (known bool) {
	p.t.Helper()
	for _, s := range sentinels {
		if errors.Is(errs[0], s) != errors.Is(errs[1], s) {
			p.mismatch(what, errs[0], errs[1])
		}
		known = known || errors.Is(errs[0], s)
	}
	var limits [2]*backend.LimitError
	for i, err := range errs {
		errors.As(err, &limits[i])
	}
	if !reflect.DeepEqual(limits[0], limits[1]) {
		p.mismatch(what, errs[0], errs[1])
	}
	return known
}

// agree asks both sides the same and expects the same reply.
func agree[R any](p *pair, what string, ask func(ctx context.Context, be backend.Backend) (R, error)) R {
	p.t.Helper()
	replies := both(p, what, ask)
	if !reflect.DeepEqual(replies[0], replies[1]) {
		p.mismatch(what, replies[0], replies[1])
	}
	return replies[0]
}

// token draws a new one.
func (p *pair) token() string {
	p.drawn++
	token := fmt.Sprintf("t%d", p.drawn)
	p.tokens = append(p.tokens, token)
	return token
}

// granted compares grants without their fences, which have to be larger than all before, and to grow.
func (p *pair) granted(what string, a, b []backend.Grant) {
	p.t.Helper()
	for i, grants := range [2][]backend.Grant{a, b} {
		for j := range grants {
			g := &grants[j]
			if g.Fence != 0 || g.TTL != backend.NoExpiry {
				if g.Fence <= p.fences[i] {
					p.t.Fatalf("%s: side %d gave fence %d after %d", what, i, g.Fence, p.fences[i])
				}
				p.fences[i], g.Fence = g.Fence, 1
			}
		}
	}
	if len(a)+len(b) > 0 && !reflect.DeepEqual(a, b) {
		p.mismatch(what, a, b)
	}
}

// until waits until seen is satisfied.
func (p *pair) until(what string, seen func() bool) {
	p.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !seen() {
		select {
		case <-tick.C:
		case <-end.C:
			p.t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

package policy_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
)

// thing is the resource of these tests. Its functions may be nil.
type thing struct {
	id        string
	key       string
	open      func(ctx context.Context) error
	check     func(ctx context.Context, key string) error
	closed    int
	configure func(key string) error
}

// fakePool is the smallest pool that a policy can work with: a list, held members, and what went wrong on demand.
type fakePool struct {
	mu     sync.Mutex
	shared bool
	free   []string
	held   map[string]*fakeLease
	kept   map[string]time.Duration // quarantined members
	locks  map[string]time.Time
	change chan struct{} // closed when the content changes

	requests []policy.Request[*thing]
	edits    []string
	ttls     []time.Duration // of the edits
	lockTTLs []time.Duration
	events   []backend.Event
	log      bytes.Buffer
	logger   *slog.Logger

	fail func(op string) error
}

var ns = backend.Namespace{Prefix: "test", Suffix: "things"}

func newFake(keys ...string) *fakePool {
	p := &fakePool{
		free: keys, held: map[string]*fakeLease{}, kept: map[string]time.Duration{}, locks: map[string]time.Time{},
		change: make(chan struct{}),
	}
	p.logger = slog.New(slog.NewTextHandler(&p.log, nil))
	return p
}

func (p *fakePool) Namespace() backend.Namespace { return ns }
func (p *fakePool) Shared() bool                 { return p.shared }
func (p *fakePool) Logger() *slog.Logger         { return p.logger }

func (p *fakePool) Observe(e backend.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
}

func (p *fakePool) count(kind backend.EventKind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, e := range p.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// content is the free list.
func (p *fakePool) content() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.free)
}

func (p *fakePool) err(op string) error {
	if p.fail != nil {
		return p.fail(op)
	}
	return nil
}

func (p *fakePool) Allocate(ctx context.Context, req policy.Request[*thing]) ([]policy.Lease[*thing], error) {
	p.mu.Lock()
	p.requests = append(p.requests, req)
	p.mu.Unlock()
	for {
		leases, changed, err := p.try(ctx, req)
		if !req.Wait || !errors.Is(err, policy.ErrExhausted) {
			return leases, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (p *fakePool) try(ctx context.Context, req policy.Request[*thing]) (
	[]policy.Lease[*thing], <-chan struct{}, error,
) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(ctx.Err(), p.err("allocate")); err != nil {
		return nil, nil, err
	}
	want := slices.Clone(req.Prefer)
	if !req.Only {
		want = append(want, p.free...)
	}
	var got []policy.Lease[*thing]
	for _, key := range want {
		_, kept := p.kept[key]
		i := slices.Index(p.free, key)
		if i < 0 && (!kept || !req.Quarantined) {
			continue
		}
		if req.HasObject && req.Object.configure != nil {
			if err := req.Object.configure(key); err != nil {
				return nil, nil, err
			}
		}
		if i >= 0 {
			p.free = slices.Delete(p.free, i, i+1)
		}
		if kept && !p.shared {
			delete(p.kept, key)
		}
		l := &fakeLease{pool: p, key: key, object: req.Object, has: req.HasObject}
		if req.HasObject {
			req.Object.key = key
		}
		p.held[key] = l
		got = append(got, l)
		if len(got) == max(1, req.Count) {
			return got, nil, nil
		}
	}
	for _, l := range got {
		p.free = append(p.free, l.Key())
	}
	return nil, p.change, policy.ErrExhausted
}

func (p *fakePool) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		p.mu.Lock()
		keys := slices.Clone(p.free)
		for k := range p.held {
			keys = append(keys, k)
		}
		for k := range p.kept {
			keys = append(keys, k)
		}
		err := errors.Join(ctx.Err(), p.err("keys"))
		p.mu.Unlock()
		slices.Sort(keys)
		for i, k := range slices.Compact(keys) {
			if err != nil && i == len(keys)/2 {
				yield("", err)
				return
			}
			if !yield(k, nil) {
				return
			}
		}
	}
}

func (p *fakePool) Extend(ctx context.Context, keys []string, ttl time.Duration) error {
	return p.edit(ctx, "extend", keys, ttl)
}

func (p *fakePool) Assign(ctx context.Context, keys []string, ttl time.Duration) error {
	return p.edit(ctx, "assign", keys, ttl)
}

func (p *fakePool) edit(ctx context.Context, op string, keys []string, ttl time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(ctx.Err(), p.err(op)); err != nil {
		return err
	}
	p.edits, p.ttls = append(p.edits, op), append(p.ttls, ttl)
	if op == "assign" {
		p.free = nil
	}
	for _, k := range keys {
		if _, kept := p.kept[k]; !kept && p.held[k] == nil && !slices.Contains(p.free, k) {
			p.free = append(p.free, k)
		}
	}
	close(p.change)
	p.change = make(chan struct{})
	return nil
}

func (p *fakePool) TryLock(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(ctx.Err(), p.err("lock")); err != nil {
		return false, err
	}
	if until, ok := p.locks[name]; ok && time.Now().Before(until) {
		return false, nil
	}
	p.locks[name] = time.Now().Add(ttl)
	p.lockTTLs = append(p.lockTTLs, ttl)
	return true, nil
}

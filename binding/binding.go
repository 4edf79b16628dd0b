// Package binding looks at and edits soft bindings: names that prefer the same member of a pool again.
//
// An allocation with a name takes the member that the name is bound to, if that is in the pool and free; else it takes
// another one and binds the name to it. The pool reads and writes bindings itself, in the step that allocates. This
// package is for setting one beforehand, for ending one, and for administrators who want to know.
//
// A binding is a preference, not a claim: it does not keep its member from others, and no name waits for its member.
// Python processes read and write the same keys.
package binding

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// DefaultTTL is how long a binding lasts since its last use, as in Python.
const DefaultTTL = time.Hour

// Binding is one name and the member it prefers.
type Binding struct {
	Name string
	Key  string
	TTL  time.Duration // what is left, backend.NoExpiry if it does not end
}

// Bindings are those of one namespace. It is safe for concurrent use and holds nothing that must be closed.
//
// Every method may give the errors of the backend: ErrUnavailable, ErrPermission, ErrWrongType, ErrClosed. What is
// invalid gets a [backend.InvalidError] before anything is sent.
type Bindings struct {
	be backend.Values
	ns backend.Namespace
}

// New gives the bindings of the namespace. It sends nothing.
func New(be backend.Values, ns backend.Namespace) (*Bindings, error) {
	if lease.IsNil(be) {
		return nil, &backend.InvalidError{Field: "backend", Value: "nil", Reason: "must not be nil"}
	}
	if err := ns.Validate(); err != nil {
		return nil, fmt.Errorf("binding: %w", err)
	}
	return &Bindings{be: be, ns: ns}, nil
}

// Bind lets name prefer key for ttl, whatever it was bound to before: 0 is [DefaultTTL], [backend.NoExpiry] is for
// ever. The key need not be in the pool yet; an allocation that finds it missing or taken binds the name anew. One
// round trip.
func (b *Bindings) Bind(ctx context.Context, name, key string, ttl time.Duration) error {
	if err := backend.ValidateMember(key); err != nil {
		return b.wrap("bind", name, err)
	}
	_, err := b.be.Set(ctx, backend.SetRequest{
		Namespace: b.ns,
		Kind:      backend.KindBinding,
		Items:     []backend.SetItem{{Name: name, Value: key, TTL: cmp.Or(ttl, DefaultTTL)}},
	})
	return b.wrap("bind", name, err)
}

// Unbind ends the binding of name and tells whether there was one. Leases are not affected. One round trip.
func (b *Bindings) Unbind(ctx context.Context, name string) (existed bool, err error) {
	reply, err := b.be.Delete(ctx, backend.DeleteRequest{
		Namespace: b.ns,
		Kind:      backend.KindBinding,
		Items:     []backend.DeleteItem{{Name: name}},
	})
	if err != nil {
		return false, b.wrap("unbind", name, err)
	}
	return len(reply.Deleted) == 1 && reply.Deleted[0], nil
}

// Lookup gives the key that name is bound to; ok is false if it is not bound. One round trip.
func (b *Bindings) Lookup(ctx context.Context, name string) (key string, ok bool, err error) {
	found, err := b.get(ctx, []string{name})
	if err != nil {
		return "", false, b.wrap("look up", name, err)
	}
	if len(found) == 0 {
		return "", false, nil
	}
	return found[0].Key, true, nil
}

// BindingsOf lists the bindings to key, each name once, in no order. It walks all bindings of the namespace, which on
// Redis means the whole database: it is for administrators. The sequence ends with the first error.
func (b *Bindings) BindingsOf(ctx context.Context, key string) iter.Seq2[Binding, error] {
	if err := backend.ValidateMember(key); err != nil {
		return func(yield func(Binding, error) bool) { yield(Binding{}, b.wrap("list", key, err)) }
	}
	return b.list(ctx, func(found Binding) bool { return found.Key == key })
}

// All lists all bindings of the namespace, as [Bindings.BindingsOf] does. It remembers the names it has listed.
func (b *Bindings) All(ctx context.Context) iter.Seq2[Binding, error] {
	return b.list(ctx, func(Binding) bool { return true })
}

func (b *Bindings) list(ctx context.Context, match func(Binding) bool) iter.Seq2[Binding, error] {
	return func(yield func(Binding, error) bool) {
		listed := make(map[string]struct{}) // pages may overlap
		req := backend.ScanRequest{Namespace: b.ns, Kind: backend.KindBinding, Limit: backend.BatchLimit}
		for {
			page, err := b.be.Scan(ctx, req)
			if err != nil {
				yield(Binding{}, b.wrap("list", "", err))
				return
			}
			for names := page.Names; len(names) > 0; {
				n := min(len(names), backend.BatchLimit)
				found, err := b.get(ctx, names[:n])
				if err != nil {
					yield(Binding{}, b.wrap("list", "", err))
					return
				}
				names = names[n:]
				for _, f := range found {
					if _, twice := listed[f.Name]; twice || !match(f) {
						continue
					}
					listed[f.Name] = struct{}{}
					if !yield(f, nil) {
						return
					}
				}
			}
			if page.Cursor == "" {
				return
			}
			req.Cursor = page.Cursor
		}
	}
}

// get gives those of the names that are bound.
func (b *Bindings) get(ctx context.Context, names []string) ([]Binding, error) {
	values, err := b.be.Get(ctx, backend.GetRequest{Namespace: b.ns, Kind: backend.KindBinding, Names: names})
	if err != nil {
		return nil, err
	}
	found := make([]Binding, 0, len(values))
	for i, v := range values {
		if v.Exists {
			found = append(found, Binding{Name: names[i], Key: v.Value, TTL: v.TTL})
		}
	}
	return found, nil
}

// wrap says what was attempted. Names that are too long for a key are too long for a message, too.
func (b *Bindings) wrap(op, name string, err error) error {
	const readable = 64
	switch {
	case err == nil:
		return nil
	case name == "":
		return fmt.Errorf("binding: %s in %s: %w", op, b.ns, err)
	case len(name) > readable:
		name = name[:readable] + "..."
	}
	return fmt.Errorf("binding: %s %q in %s: %w", op, name, b.ns, err)
}

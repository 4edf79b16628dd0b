package pool

import (
	"context"
	"io"
	"reflect"
)

// Allocatable is what an allocation configures with the member that it got. One method is enough; an object may have
// further ones, which are looked for: [Opener], [Closer] or io.Closer, [HealthChecker], [Namer], [Identifier].
//
// The allocator calls the methods of one lease's object one at a time, except for CheckHealth. None of them may call
// the lease back, but for what only reads: Key, Object, Params, Valid, Context.
type Allocatable interface {
	// Configure tells the object its key and the parameters of the allocation ([Params], else nil). It is
	// called by each allocation and must not block. An error gives the member back and fails the allocation.
	Configure(key string, params any) error
}

// Opener is an object that can be opened: by [Lease.Open], by [Lease.Refresh], and by policies that check the health of
// members. Malloc and Acquire do not open.
type Opener interface {
	Open(ctx context.Context) error
}

// Closer is an object that wants to be closed. Release, Refresh and Close do it, once, whether or not it was opened
// before; ctx is not over then, and lasts for 30 seconds at most. An io.Closer does as well.
type Closer interface {
	Close(ctx context.Context) error
}

// HealthChecker is an object that can tell whether its member works. Nil is healthy.
type HealthChecker interface {
	CheckHealth(ctx context.Context) error
}

// Namer is an object with a name for soft bindings: an allocation for it prefers the member that the same name had
// before. "" is no name. The option [Name] goes before it.
type Namer interface {
	BindingName() string
}

// Identifier is an object with an identity of its own, which becomes a part of [Lease.UniqueID].
type Identifier interface {
	ObjectID() string
}

// None is an Allocatable for those who only need keys: pool.Allocator[pool.None], used through MallocKey, AcquireKey
// and their like.
type None struct{}

// Configure does nothing.
func (None) Configure(string, any) error { return nil }

// traits are the optional methods that an object has.
type traits uint8

const (
	opens traits = 1 << iota
	closes
	closesIO
	checks
	names
	identifies
	nilable // its zero value is no object
)

// traitsOf looks at a type, once: at the pool's, or, where that is an interface, at each object's.
func traitsOf(t reflect.Type) traits {
	var found traits
	for _, m := range []struct {
		is    reflect.Type
		trait traits
	}{
		{reflect.TypeFor[Opener](), opens},
		{reflect.TypeFor[Closer](), closes},
		{reflect.TypeFor[io.Closer](), closesIO},
		{reflect.TypeFor[HealthChecker](), checks},
		{reflect.TypeFor[Namer](), names},
		{reflect.TypeFor[Identifier](), identifies},
	} {
		if t.Implements(m.is) {
			found |= m.trait
		}
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		found |= nilable
	}
	return found
}

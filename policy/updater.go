package policy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/redisallocator/redisallocator/backend"
)

// Source names the members that a pool should have: a file, a service, a table.
type Source interface {
	// Members lists them. Twice the same counts once; none at all counts as a failure. It must heed ctx, whose
	// end is that of the time set for it (RefreshConfig.FetchTimeout). Panics are survived.
	Members(ctx context.Context) ([]string, error)
}

// SourceFunc makes a Source of a function.
type SourceFunc func(ctx context.Context) ([]string, error)

// Members calls f.
func (f SourceFunc) Members(ctx context.Context) ([]string, error) { return f(ctx) }

// Updater takes turns among sources: each [Updater.Fetch] asks the next one. With one source a refresh makes the
// pool's content what the source says; with several, each knows a part of it only, and a refresh adds.
//
// Use it by pointer, set the fields before the first use, and leave them alone then. It is safe for concurrent use and
// may serve several pools, which then share the turns.
type Updater struct {
	Sources []Source // at least one

	// KeepOrder adds members in the order in which the source names them. Otherwise they are shuffled, as in Python,
	// so that the head of the source's list does not wear out first.
	KeepOrder bool

	turn atomic.Uint64
}

// NewUpdater is an Updater of these sources, with shuffling.
func NewUpdater(sources ...Source) *Updater { return &Updater{Sources: sources} }

// Fetch asks the source whose turn it is. The error is the source's, [ErrNoMembers] if it named none, or a
// [PanicError]. The turn passes on in any case.
func (u *Updater) Fetch(ctx context.Context) ([]string, error) {
	if err := u.validate(); err != nil {
		return nil, err
	}
	i := int((u.turn.Add(1) - 1) % uint64(len(u.Sources)))
	members, err := u.ask(ctx, i)
	if err != nil {
		return nil, err
	}
	u.shuffle(members)
	return members, nil
}

// FetchAll asks all sources at once and joins what they name, each member once. If one of them fails, nothing is
// returned but the errors: a union that lacks a part must not replace a pool's content. It leaves the turns alone.
func (u *Updater) FetchAll(ctx context.Context) ([]string, error) {
	if err := u.validate(); err != nil {
		return nil, err
	}
	lists := make([][]string, len(u.Sources))
	errs := make([]error, len(u.Sources))
	var g errgroup.Group
	for i := range u.Sources {
		g.Go(func() error {
			lists[i], errs[i] = u.ask(ctx, i)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs, all of them
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var all []string
	seen := make(map[string]struct{})
	for _, list := range lists {
		for _, m := range list {
			if _, twice := seen[m]; !twice {
				seen[m] = struct{}{}
				all = append(all, m)
			}
		}
	}
	u.shuffle(all)
	return all, nil
}

// ask gives a list that is ours to change, or an error that names the source.
func (u *Updater) ask(ctx context.Context, i int) (members []string, err error) {
	err = guard(func() error {
		list, err := u.Sources[i].Members(ctx)
		members = append(members, list...)
		return err
	})
	switch {
	case err != nil:
	case ctx.Err() != nil: // what it answered afterwards may be half of it
		err = context.Cause(ctx)
	case len(members) == 0:
		err = ErrNoMembers
	default:
		return members, nil
	}
	return nil, fmt.Errorf("source %d: %w", i, err)
}

func (u *Updater) shuffle(members []string) {
	if !u.KeepOrder {
		rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	}
}

func (u *Updater) validate() error {
	switch {
	case u == nil:
		return &backend.InvalidError{Field: "updater", Value: "nil", Reason: "must not be nil"}
	case len(u.Sources) == 0:
		return &backend.InvalidError{Field: "updater", Value: "{}", Reason: "must have a source"}
	}
	for i, s := range u.Sources {
		if s == nil {
			return &backend.InvalidError{Field: "source", Value: fmt.Sprint(i), Reason: "must not be nil"}
		}
	}
	return nil
}

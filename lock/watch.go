package lock

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// ChangeKind is what has happened to a member of a [Heartbeat].
type ChangeKind uint8

// The kinds of changes.
const (
	Joined  ChangeKind = iota + 1 // it is alive, and was not
	Left                          // it was alive, and is not
	Unknown                       // nobody could be asked: Change.Err says why
)

func (k ChangeKind) String() string {
	switch k {
	case Joined:
		return "joined"
	case Left:
		return "left"
	default:
		return "unknown"
	}
}

// Change is one thing that [Heartbeat.Watch] has noticed.
type Change struct {
	Kind   ChangeKind
	Living Living // who joined, or left: then as it was last seen
	Err    error  // with Unknown
}

// Watch tells who joins and who leaves, beginning with all who are alive now, until ctx ends or the caller stops. Of what
// it finds at the same time it tells the leaving first, in the order of ids. A member that has joined anew under the same id has
// left and joined.
//
// It looks about three times in the TTL, at jittered intervals: who left is told by then, and who died when its TTL
// is over. That is one round trip for each backend.BatchLimit members each time; nothing is sent while the caller is
// busy with a change.
//
// When the store cannot be asked, that is a change of the kind [Unknown], each time; those who are known stay so, and the
// next answer tells the difference. Only what no time can heal, such as backend.ErrClosed or backend.ErrInvalid, ends the
// sequence behind such a change.
func (b *Heartbeat) Watch(ctx context.Context) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		var known []Living // in the order of ids
		for pause := time.Duration(0); wait(ctx, pause); pause = b.pause() {
			now, err := b.Living(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				if !yield(Change{Kind: Unknown, Err: err}) || incurable(err) {
					return
				}
				continue
			}
			for _, c := range changes(known, now) {
				if !yield(c) {
					return
				}
			}
			known = now
		}
	}
}

// pause is a third of the TTL, more or less.
func (b *Heartbeat) pause() time.Duration {
	third := max(b.cfg.TTL/3, time.Millisecond)
	return third*3/4 + rand.N(third/2)
}

// wait returns when d is over, or with false when ctx is.
func wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func incurable(err error) bool {
	for _, kind := range []error{backend.ErrClosed, backend.ErrInvalid, backend.ErrPermission, backend.ErrUnsupported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// changes is what turns before into after, both in the order of ids.
func changes(before, after []Living) (all []Change) {
	var joined []Change
	left := func(l Living) { all = append(all, Change{Kind: Left, Living: l}) }
	join := func(l Living) { joined = append(joined, Change{Kind: Joined, Living: l}) }
	i, j := 0, 0
	for i < len(before) && j < len(after) {
		was, is := before[i], after[j]
		switch order := cmp.Compare(was.ID, is.ID); {
		case order < 0:
			left(was)
			i++
		case order > 0:
			join(is)
			j++
		default:
			if was.Holder.Token != is.Holder.Token {
				left(was)
				join(is)
			}
			i++
			j++
		}
	}
	for _, was := range before[i:] {
		left(was)
	}
	for _, is := range after[j:] {
		join(is)
	}
	return append(all, joined...)
}

package memory

import (
	"cmp"
	"slices"
)

// holders is who shares a name, in the order of the ends of their leases. A lease mostly ends after all others when it
// is new or has been renewed, and before all others when it has run out; so little has to be moved.
type holders struct {
	byEnd   []*holder
	byToken map[string]*holder // nil while there are few
	units   int
}

// holder is one of them.
type holder struct {
	token string
	units int
	end   instant
	again int32 // how often it has to give back, beyond once
	fence int64 // of its first grant: tells apart who ends at once
	claim bool  // was handed over and not yet renewed
}

// find gives the holder whose token it is, if its lease has not run out.
func (hs *holders) find(token string, now instant) *holder {
	if hs.byToken != nil {
		if h := hs.byToken[token]; h != nil && h.end > now {
			return h
		}
		return nil
	}
	for _, h := range hs.byEnd {
		if h.token == token && h.end > now {
			return h
		}
	}
	return nil
}

// last gives the end of the last lease.
func (hs *holders) last() instant { return hs.byEnd[len(hs.byEnd)-1].end }

// index gives where a holder is, or would be.
func (hs *holders) index(h *holder) int {
	if n := len(hs.byEnd); n == 0 || hs.byEnd[n-1].compare(h) < 0 {
		return n
	}
	i, _ := slices.BinarySearchFunc(hs.byEnd, h, (*holder).compare)
	return i
}

func (h *holder) compare(other *holder) int {
	return cmp.Or(cmp.Compare(h.end, other.end), cmp.Compare(h.fence, other.fence))
}

// add gives h its place.
func (hs *holders) add(h *holder) {
	hs.byEnd = slices.Insert(hs.byEnd, hs.index(h), h)
	hs.units += h.units
	const few = 8
	switch {
	case hs.byToken != nil:
		hs.byToken[h.token] = h
	case len(hs.byEnd) > few:
		hs.byToken = make(map[string]*holder)
		for _, h := range hs.byEnd {
			hs.byToken[h.token] = h
		}
	}
}

// remove takes h out.
func (hs *holders) remove(h *holder) {
	i := hs.index(h)
	hs.byEnd = slices.Delete(hs.byEnd, i, i+1)
	hs.drop(h)
}

// move gives h another end.
func (hs *holders) move(h *holder, end instant) {
	i := hs.index(h)
	hs.byEnd = slices.Delete(hs.byEnd, i, i+1)
	h.end = end
	hs.byEnd = slices.Insert(hs.byEnd, hs.index(h), h)
}

// lapse takes those out whose leases have run out.
func (hs *holders) lapse(now instant) {
	n := 0
	for n < len(hs.byEnd) && hs.byEnd[n].end <= now {
		hs.drop(hs.byEnd[n])
		n++
	}
	if n > 0 {
		hs.byEnd = slices.Delete(hs.byEnd, 0, n)
	}
}

func (hs *holders) drop(h *holder) {
	hs.units -= h.units
	delete(hs.byToken, h.token)
}

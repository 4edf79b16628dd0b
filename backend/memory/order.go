package memory

import "sort"

// order remembers members in the order in which they joined, which is how a small hash of Redis is scanned. Places are
// numbered and never used again, so that a number is a cursor that survives whatever happens to the members.
type order struct {
	places []place
	gone   int // places without a member
	last   uint64

	collected uint64 // the collector goes on here
}

type place struct {
	seq uint64
	e   *entry // nil: gone
}

func (o *order) len() int { return len(o.places) - o.gone }

func (o *order) add(e *entry) {
	o.tidy()
	o.last++
	e.seq = o.last
	o.places = append(o.places, place{e.seq, e})
}

// remove leaves a hole, so that a walk may remove what it meets.
func (o *order) remove(e *entry) {
	o.places[o.find(e.seq)].e = nil
	o.gone++
}

// find gives the index of the first place whose number is not below seq.
func (o *order) find(seq uint64) int {
	return sort.Search(len(o.places), func(i int) bool { return o.places[i].seq >= seq })
}

// tidy closes the holes when they are the larger part. Whoever walks by index calls it before, not meanwhile.
func (o *order) tidy() {
	const few = 64
	if o.gone <= len(o.places)/2 || o.gone < few && o.len() > 0 {
		return
	}
	kept := o.places[:0]
	for _, p := range o.places {
		if p.e != nil {
			kept = append(kept, p)
		}
	}
	clear(o.places[len(kept):])
	o.places, o.gone = kept, 0
}

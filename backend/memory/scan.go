package memory

import (
	"context"
	"iter"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// Scan lists the names of one kind; see [backend.Values]. They come in alphabetical order.
func (b *Backend) Scan(ctx context.Context, req backend.ScanRequest) (backend.ScanReply, error) {
	s, now, err := b.open(ctx, req.Namespace, req.Validate())
	if err != nil {
		return backend.ScanReply{}, fail("scan", req.Namespace, err)
	}
	defer s.mu.Unlock()
	const usual = 100
	limit := req.Limit
	if limit == 0 {
		limit = usual
	}
	names, cursor := page(s.names(req.Kind, now), req.Cursor, limit)
	return backend.ScanReply{Names: names, Cursor: cursor}, nil
}

// names gives the names of all values of a kind, in no order.
func (s *space) names(kind backend.Kind, now instant) iter.Seq[string] {
	return func(yield func(string) bool) {
		if kind == backend.KindBinding {
			for name, b := range s.bindings {
				if b.end > now && !yield(name) {
					return
				}
			}
			return
		}
		for name, e := range s.entries {
			if e.locked(now) && !yield(name) {
				return
			}
		}
	}
}

// page gives the first names after a given one in alphabetical order, and where the next page goes on. It goes once
// through all names and holds no more than two pages of them.
func page(names iter.Seq[string], after string, limit int) (found []string, cursor string) {
	full := false // there are more names than found has, all of them after its last
	cut := func() {
		slices.Sort(found)
		if len(found) > limit {
			clear(found[limit:])
			found, full = found[:limit], true
		}
	}
	last := ""
	for name := range names {
		if name <= after || full && name > last {
			continue
		}
		found = append(found, name)
		if len(found) == 2*limit {
			cut()
			last = found[limit-1]
		}
	}
	cut()
	if full {
		cursor = found[len(found)-1]
	}
	return found, cursor
}

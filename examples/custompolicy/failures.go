package main

import (
	"context"
	"slices"
	"sync"

	"github.com/redisallocator/redisallocator/policy"
)

// failures remembers the order in which members have failed. One per process is enough: it is advice, not truth.
type failures struct {
	mu      sync.Mutex
	count   int
	last    map[string]int // member -> which failure its last one was; 0: it never failed
	members []string
}

// failed takes note.
func (f *failures) failed(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		f.last = make(map[string]int)
	}
	f.count++
	f.last[key] = f.count
}

// leastRecent gives the members in the order in which they should be tried: those that never failed, then the one whose
// failure is the longest ago, and so on. It is what policy.Order asks for.
func (f *failures) leastRecent(ctx context.Context, p policy.Pool[*Mirror], _ policy.Request[*Mirror]) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members == nil { // a pool that changes would be listed again from time to time
		for key, err := range p.Keys(ctx) {
			if err != nil {
				f.members = nil
				return nil, err
			}
			f.members = append(f.members, key)
		}
		slices.Sort(f.members)
	}
	order := slices.Clone(f.members)
	slices.SortStableFunc(order, func(a, b string) int { return f.last[a] - f.last[b] })
	return order, nil
}

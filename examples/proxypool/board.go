package main

import (
	"sync"
	"time"
)

// A board is where workers report, for those who watch and for the account at the end. It is no part of how they share:
// that they do through the pools alone.
type board struct {
	screen *screen
	ttl    time.Duration
	after  func(fetched int) // is told after each page how many were fetched so far

	mu      sync.Mutex
	pages   map[string]int    // page -> how often it was fetched
	served  map[string]int    // proxy -> how many pages came through it
	holders map[string]string // owner's token -> worker
	orphans map[string]bool   // what the crashed worker had and nobody has got yet
}

func newBoard(s *screen, ttl time.Duration, after func(fetched int)) *board {
	return &board{
		screen: s, ttl: ttl, after: after,
		pages: map[string]int{}, served: map[string]int{}, holders: map[string]string{}, orphans: map[string]bool{},
	}
}

// took is reported of each page and each proxy that a worker has got.
func (b *board) took(worker, key, token string) {
	b.mu.Lock()
	b.holders[token] = worker
	orphan := b.orphans[key]
	delete(b.orphans, key)
	b.mu.Unlock()
	if orphan {
		b.screen.say("%s is back: its lease ran out, now %s has it", key, worker)
	}
}

// fetched is reported of each page.
func (b *board) fetched(page, proxy string) {
	b.mu.Lock()
	b.pages[page]++
	b.served[proxy]++
	n := len(b.pages)
	b.mu.Unlock()
	b.after(n)
}

// failed is reported of a proxy that does not work, and is quarantined.
func (b *board) failed(proxy string, _ error) {
	b.screen.say("%s does not work: quarantined for %v", proxy, quarantine)
}

// crashed is what in earnest nobody would report.
func (b *board) crashed(worker, page, proxy, token string) {
	b.mu.Lock()
	b.holders[token] = worker + ", crashed"
	b.orphans[page], b.orphans[proxy] = true, true
	b.mu.Unlock()
	b.screen.say("%s crashes with %s and %s, which stay leased for %v", worker, proxy, page, b.ttl)
}

// progress is how many pages were fetched so far.
func (b *board) progress() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pages)
}

// complete adds to a row of the table what only the workers know.
func (b *board) complete(r *row, token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.holder, r.served = b.holders[token], b.served[r.proxy]
}

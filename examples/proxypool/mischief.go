package main

import "sync/atomic"

// mischief is what goes wrong on purpose: after a quarter of the pages a proxy is killed, after half of them a worker
// crashes.
type mischief struct {
	pages  int
	victim *localServer // nil: the proxies are not ours to kill
	screen *screen
	doomed atomic.Bool
}

// after is told how many pages were fetched so far.
func (m *mischief) after(fetched int) {
	switch fetched {
	case m.pages / 4:
		if m.victim != nil {
			m.screen.say("%s is killed", m.victim.addr)
			m.victim.kill()
		}
	case m.pages / 2:
		m.doomed.Store(true)
	}
}

// crash is asked by each worker before each page, and tells one of them to crash.
func (m *mischief) crash() bool { return m.doomed.CompareAndSwap(true, false) }

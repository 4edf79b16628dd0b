package rueidis

import (
	"strconv"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// arguments are ARGV in the making, in room that is used again.
type arguments struct {
	argv  []string
	plain bool // see exchange.lua

	lastTTL time.Duration // and its text: neighbours mostly have the same
	lastMS  string

	seen  map[string]struct{} // see distinct
	bytes []byte
	flags []byte
}

var argumentLists = sync.Pool{New: func() any { return &arguments{seen: make(map[string]struct{})} }}

func newArguments(sp *space) *arguments {
	a := argumentLists.Get().(*arguments)
	a.argv = append(a.argv, sp.head...)
	return a
}

func (a *arguments) drop() {
	a.reset()
	argumentLists.Put(a)
}

func (a *arguments) reset() {
	clear(a.argv)
	a.argv = a.argv[:0]
}

func (a *arguments) text(s string) { a.argv = append(a.argv, s) }
func (a *arguments) int(n int)     { a.argv = append(a.argv, strconv.Itoa(n)) }

func (a *arguments) ttl(d time.Duration) {
	if d != a.lastTTL || a.lastMS == "" {
		a.lastTTL, a.lastMS = d, strconv.FormatInt(backend.Millis(d), 10)
	}
	a.text(a.lastMS)
}

// waits says for whom a request is ready to wait, and how.
func (a *arguments) waits(sp *space, claim time.Duration, priority int) {
	a.text(sp.b.process)
	a.ttl(claim)
	a.int(priority)
}

// header says how many of each there are, and whether all is plain.
func (a *arguments) header(numbers ...int) {
	form := "mixed"
	if a.plain {
		form = "plain"
	}
	a.counts(form, numbers...)
}

// counts gives numbers, and a word, in one argument.
func (a *arguments) counts(form string, numbers ...int) {
	a.bytes = a.bytes[:0]
	for _, n := range numbers {
		a.bytes = append(strconv.AppendInt(a.bytes, int64(n), 10), ' ')
	}
	a.bytes = append(a.bytes, form...)
	a.text(string(a.bytes))
}

// returns adds what a batch returns, members or names alike.
func (a *arguments) returns(batch []*part) {
	for _, p := range batch {
		for i := range p.returns {
			a.text(p.returns[i].Member)
			a.text(p.returns[i].Token)
		}
	}
}

// renewals adds what a batch renews, members or names alike, with the new tokens if there may be some.
func (a *arguments) renewals(batch []*part, tokens bool) {
	for _, p := range batch {
		for i := range p.renewals {
			r := &p.renewals[i]
			a.text(r.Member)
			a.text(r.Token)
			a.ttl(r.TTL)
			if tokens {
				a.text(r.NewToken)
			}
		}
	}
}

// distinct reports whether no member or name is returned, renewed or locked twice. Locks are of one name.
func (a *arguments) distinct(batch []*part) bool {
	clear(a.seen)
	n := 0
	for _, p := range batch {
		for i := range p.returns {
			a.seen[p.returns[i].Member] = struct{}{}
		}
		for i := range p.renewals {
			a.seen[p.renewals[i].Member] = struct{}{}
		}
		n += len(p.returns) + len(p.renewals)
		if p.lock != nil {
			a.seen[p.lock.req.Items[0].Name] = struct{}{}
			n++
		}
	}
	return len(a.seen) == n
}

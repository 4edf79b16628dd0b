package rueidis

import (
	"slices"
	"time"

	"github.com/redis/rueidis"
)

// maxEach is how many calls for one part each may go instead of one for all.
const maxEach = 16

// each reports whether the parts of a batch are better sent in calls of their own, one behind the other: somebody is ready
// to wait, and the short ways of lockexchange.lua for who waits, or is waited for, are for one part alone. The long way
// takes longer than those of all parts together.
func (sp *space) each(batch []*part) bool {
	if len(batch) < 2 || len(batch) > maxEach || sp.b.opts.roundabout {
		return false
	}
	for _, p := range batch {
		if p.lock != nil && p.lock.wait {
			return true
		}
	}
	return false
}

// lockEach carries out a batch in one round trip, but a call for each part, and leaves in each what came of it, also the
// error. What is given back comes first, as in lockexchange.lua.
func (sp *space) lockEach(w *wire, batch []*part) {
	parts := slices.Clone(batch)
	slices.SortStableFunc(parts, func(x, y *part) int { return x.rank() - y.rank() })
	client := sp.b.client
	if w != nil {
		client = w.client
	}
	calls, forms := make(rueidis.Commands, len(parts)), make([]string, len(parts))
	a := argumentLists.Get().(*arguments)
	for i := range parts {
		var keys []string
		keys, forms[i] = sp.encodeLocks(a, parts[i:i+1])
		calls[i] = client.B().Evalsha().Sha1(lockExchangeSHA).Numkeys(int64(len(keys))).Key(keys...).Arg(a.argv...).Build()
		a.reset()
	}
	a.drop()
	sent := time.Now()
	for _, p := range parts {
		p.sentAt(sent)
	}
	replies := client.DoMulti(sp.b.bounded(), calls...)
	sp.b.waits.tracker.changed(lockExchangeScript)
	var unmoved error // of one that has waited for its slot in vain
	for i, p := range parts {
		one := parts[i : i+1]
		reply, err := replies[i].ToMessage()
		switch e, ok := rueidis.IsRedisErr(err); {
		case moving(err) && unmoved != nil:
			err = unmoved
		case ok && e.IsNoScript(), moving(err):
			if err = sp.b.onceMoved(func() error { return sp.lockExchange(w, one) }); moving(err) {
				unmoved = err
			}
		default:
			sp.heardOn(w, err)
			if err == nil {
				err = decodeLocks(one, &reply, forms[i])
			}
		}
		if err != nil {
			p.fails(err)
		}
	}
}

// rank orders the parts of a batch.
func (p *part) rank() int {
	switch {
	case len(p.returns) > 0:
		return 0
	case p.lock == nil:
		return 1
	default:
		return 2
	}
}

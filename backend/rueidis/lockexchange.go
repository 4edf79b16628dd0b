package rueidis

import (
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// The forms of lockexchange.lua.
const (
	lockForm   = "lock"   // one lock, alone
	enterForm  = "enter"  // the same, of one who is ready to wait; the answer is that of mixedForm
	unlockForm = "unlock" // one unlock, alone
	apartForm  = "apart"  // plain, and no name twice
	plainForm  = "plain"  // every lock is of one name, alone
	mixedForm  = "mixed"
)

// lockExchange carries out a batch in one call, or in one round trip, and leaves in each part what came of it.
func (sp *space) lockExchange(w *wire, batch []*part) error {
	if sp.each(batch) {
		sp.lockEach(w, batch)
		return nil
	}
	a := argumentLists.Get().(*arguments)
	keys, form := sp.encodeLocks(a, batch)
	sent := time.Now()
	for _, p := range batch {
		p.sentAt(sent)
	}
	reply, err := sp.callOn(sp.b.bounded(), w, lockExchangeScript, keys, a.argv)
	a.drop()
	if err != nil {
		return err
	}
	return decodeLocks(batch, &reply, form)
}

// encodeLocks gives the KEYS of lockexchange.lua, writes its ARGV to a, and gives their form.
func (sp *space) encodeLocks(a *arguments, batch []*part) (keys []string, form string) {
	k := &sp.lockKeys
	a.text(k.head)
	if len(batch) == 1 && !sp.b.opts.roundabout {
		p := batch[0]
		switch op := p.lock; {
		case op != nil && op.single() && !op.join:
			name := op.req.Items[0].Name
			if !op.wait {
				a.text(lockForm)
				a.text(op.req.Token)
				a.ttl(op.req.TTL)
				return k.alone(name, k.fence), lockForm
			}
			a.text(enterForm)
			a.text(op.req.Token)
			a.ttl(op.req.TTL)
			a.waits(sp, op.claim, op.priority)
			return k.alone(name, k.fence, k.requests, k.processes, k.sequence), mixedForm
		case op == nil && len(p.returns) == 1:
			a.text(unlockForm)
			a.text(p.returns[0].Token)
			return k.alone(p.returns[0].Member, k.requests), unlockForm
		}
	}
	unlocks, renewals, locks := 0, 0, 0
	form = apartForm
	for _, p := range batch {
		unlocks += len(p.returns)
		renewals += len(p.renewals)
		if p.lock != nil {
			locks++
			if !p.lock.plain() {
				form = mixedForm
			}
		}
	}
	if form == apartForm && (sp.b.opts.roundabout || !a.distinct(batch)) {
		form = plainForm
	}
	a.counts(form, unlocks, renewals, locks)
	a.returns(batch)
	a.renewals(batch, false)
	for _, p := range batch {
		if p.lock != nil {
			sp.encodeLock(a, p.lock, form == mixedForm)
		}
	}
	return k.keys, form
}

func (sp *space) encodeLock(a *arguments, op *lockOp, mixed bool) {
	r := &op.req
	a.text(r.Token)
	a.ttl(r.TTL)
	if !mixed {
		a.text(r.Items[0].Name)
		return
	}
	flags := make([]byte, 0, 4)
	if op.mark != "" {
		flags = append(flags, 'a')
	}
	if r.Downgrade {
		flags = append(flags, 'd')
	}
	if op.wait {
		flags = append(flags, 'w')
	}
	if op.join {
		flags = append(flags, 'j')
	}
	a.text(string(flags))
	if op.mark != "" {
		a.text(op.mark)
	}
	if op.wait {
		a.waits(sp, op.claim, op.priority)
	}
	a.int(len(r.Items))
	for i := range r.Items {
		it := &r.Items[i]
		a.text(it.Name)
		a.int(it.Units)
		a.int(it.Limit)
	}
}

// decodeLocks reads the reply of lockexchange.lua.
func decodeLocks(batch []*part, reply *rueidis.RedisMessage, form string) error {
	if form == lockForm || form == unlockForm {
		n, err := reply.AsInt64()
		if err != nil {
			return unexpected("lock", reply)
		}
		if form == lockForm {
			batch[0].lock.granted(n)
		} else {
			batch[0].bits = []bool{n == 1}
		}
		return nil
	}
	all, err := reply.ToArray()
	if err != nil || len(all) < 2 {
		return unexpected("lock", reply)
	}
	var unlocked, renewed string
	if into(&all[0], &unlocked) != nil || into(&all[1], &renewed) != nil {
		return unexpected("lock", reply)
	}
	locks := all[2:]
	for _, p := range batch {
		switch {
		case p.lock != nil:
			if len(locks) == 0 {
				return unexpected("lock", reply)
			}
			if !p.lock.decode(&locks[0], form) {
				return unexpected("lock", &locks[0])
			}
			locks = locks[1:]
		default:
			if err := p.decodeBits(&unlocked, &renewed); err != nil {
				return err
			}
		}
	}
	if len(locks) > 0 {
		return unexpected("lock", reply)
	}
	return nil
}

// granted notes the fence of the one name that a plain lock got, 0 if it was refused.
func (op *lockOp) granted(fence int64) {
	if fence > 0 {
		op.grants = []backend.Grant{{Member: op.req.Items[0].Name, Token: op.req.Token, Fence: fence, TTL: op.req.TTL}}
	}
}

// The first number in the answer to one lock.
const (
	lockRefused = iota
	lockGranted
	lockWaits
	lockLimited
)

// decode reads the answer to one lock: {0}, {1, fence...}, {2, first, deadline, known} or {3, item, limit}; if all are
// plain, the fence or 0.
func (op *lockOp) decode(answer *rueidis.RedisMessage, form string) bool {
	if form != mixedForm {
		fence, err := answer.AsInt64()
		op.granted(fence)
		return err == nil
	}
	n, err := answer.AsIntSlice()
	if err != nil || len(n) == 0 {
		return false
	}
	items := op.req.Items
	switch {
	case n[0] == lockRefused:
		return !op.wait
	case n[0] == lockGranted && len(n) == 1+len(items):
		op.grants = make([]backend.Grant, len(items))
		for i := range items {
			op.grants[i] = backend.Grant{Member: items[i].Name, Token: op.req.Token, Fence: n[1+i], TTL: op.req.TTL}
		}
		return true
	case n[0] == lockWaits && len(n) == 4 && op.wait:
		op.waiting, op.first, op.deadline, op.known = true, n[1] == 1, millis(n[2]), n[3] == 1
		return true
	case n[0] == lockLimited && len(n) == 3 && n[1] >= 1 && n[1] <= int64(len(items)):
		it := &items[n[1]-1]
		op.refused = &backend.LimitError{Name: it.Name, Asked: it.Limit, Stored: int(n[2])}
		return true
	}
	return false
}

package rueidis

import (
	"errors"
	"time"
)

// errReply says that the server's answer does not look like that of the script.
var errReply = errors.New("reply has an unexpected form")

// exchange carries out a batch in one call, and leaves in each part what came of it.
func (sp *space) exchange(w *wire, batch []*part) error {
	args := sp.encode(batch)
	sent := time.Now()
	for _, p := range batch {
		p.sentAt(sent)
	}
	reply, err := sp.callOn(sp.b.bounded(), w, exchangeScript, sp.keys, args.argv)
	plain := args.plain
	args.drop()
	if err != nil {
		return err
	}
	return decode(batch, &reply, plain)
}

// plain reports whether the part is in the common form, which has a shorter encoding.
func (p *part) plain() bool {
	if op := p.take; op != nil {
		r := &op.req
		return r.Count <= 1 && !r.Shared && !r.Only && !op.wait && r.Binding == "" && len(r.Prefer) == 0
	}
	for i := range p.renewals {
		if p.renewals[i].NewToken != "" {
			return false
		}
	}
	return true
}

// encode gives the ARGV of exchange.lua.
func (sp *space) encode(batch []*part) *arguments {
	a := newArguments(sp)
	returns, renewals, takes, collect := 0, 0, 0, 0
	a.plain = !sp.b.opts.roundabout
	for _, p := range batch {
		returns += len(p.returns)
		renewals += len(p.renewals)
		if p.take != nil {
			takes++
			collect = max(collect, p.take.req.Collect)
		}
		a.plain = a.plain && p.plain()
	}
	if a.plain && returns+renewals > 1 {
		a.plain = a.distinct(batch)
	}
	alone := a.plain && takes == 1 && returns+renewals == 0
	switch {
	case alone:
		a.text("take")
	case a.plain && returns == 1 && renewals+takes == 0:
		a.text("return")
	default:
		a.header(returns, renewals, takes, collect)
	}
	a.returns(batch)
	a.renewals(batch, !a.plain)
	for _, p := range batch {
		if p.take != nil {
			sp.encodeTake(a, p.take)
		}
	}
	if alone && collect > 0 {
		a.int(collect)
	}
	return a
}

func (sp *space) encodeTake(a *arguments, op *takeOp) {
	r := &op.req
	a.text(r.Token)
	if r.Shared {
		a.text("-1")
	} else {
		a.ttl(r.TTL)
	}
	if a.plain {
		return
	}
	a.int(max(r.Count, 1))
	flags := make([]byte, 0, 8)
	if r.Shared {
		flags = append(flags, 's')
	}
	if r.Only {
		flags = append(flags, 'o')
	}
	if r.Binding != "" {
		flags = append(flags, 'b')
	}
	if len(r.Prefer) > 0 {
		flags = append(flags, 'p')
	}
	if op.wait {
		flags = append(flags, 'w')
	}
	if op.join {
		flags = append(flags, 'j')
	}
	a.text(string(flags))
	if r.Binding != "" {
		a.text(r.Binding)
		a.ttl(r.BindingTTL)
	}
	if len(r.Prefer) > 0 {
		a.int(len(r.Prefer))
		a.argv = append(a.argv, r.Prefer...)
	}
	if op.wait {
		a.waits(sp, op.claim, op.priority)
	}
}

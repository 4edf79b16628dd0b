package rueidis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// debtKind is what can be dealt with in one call: what is known to be in line, or among what deadlines to look.
type debtKind struct {
	names bool
	tasks bool
	ttl   time.Duration
}

func (x *debt) kind() debtKind {
	switch {
	case len(x.queues) > 0:
		return debtKind{tasks: true, ttl: x.ttl}
	case len(x.names) > 0:
		return debtKind{names: true}
	case x.known:
		return debtKind{}
	default:
		return debtKind{ttl: x.ttl}
	}
}

// settle deals with debts of one namespace and gives those that are left: for another attempt, or to be asked about
// a second time.
func (sp *space) settle(ctx context.Context, list []debt) (left []debt, failed error) {
	groups := make(map[debtKind][]debt)
	for _, x := range list {
		groups[x.kind()] = append(groups[x.kind()], x)
	}
	for kind, group := range groups {
		for len(group) > 0 {
			page := pageOf(group, debtPage, func(x debt) int { return len(x.names) })
			group = group[len(page):]
			err := failed // the server does not answer: spare the rest
			if err == nil {
				err = sp.repay(ctx, kind, page)
			}
			for _, x := range page {
				switch {
				case err != nil:
					failed = err
					left = append(left, x)
				case !x.known && !x.asked:
					x.asked, x.due = true, time.Now().Add(lateness)
					left = append(left, x)
				}
			}
		}
	}
	return left, failed
}

// repay deals with what can be dealt with in one call. What the server refuses is given up; that of several it may be
// one that it refuses, for a key of the wrong type, is found out by halves.
func (sp *space) repay(ctx context.Context, kind debtKind, page []debt) error {
	err := sp.repayOnce(ctx, kind, page)
	if err == nil || !isReply(err) || errors.Is(sp.b.classify(err), backend.ErrUnavailable) {
		return err
	}
	if kind.names && len(page) > 1 {
		return errors.Join(sp.repay(ctx, kind, page[:len(page)/2]), sp.repay(ctx, kind, page[len(page)/2:]))
	}
	sp.b.log.Error("members, names or tasks cannot be given back, they come back when their leases run out",
		"namespace", sp.ns.String(), "requests", len(page), "error", err)
	return nil
}

func (sp *space) repayOnce(ctx context.Context, kind debtKind, page []debt) error {
	if kind.names {
		_, err := namesLine{sp, sp.lockKeys}.undoing(page).carryOut(ctx, sp.b)
		return err
	}
	if kind.tasks {
		return sp.putBack(ctx, kind.ttl, page)
	}
	if kind.ttl != 0 {
		tokens := make([]string, len(page))
		for i := range page {
			tokens[i] = page[i].token
		}
		return sp.reclaim(ctx, kind.ttl, oldest(page), tokens)
	}
	list := make([]request, len(page))
	for i := range page {
		list[i] = page[i].request
	}
	return sp.line.depart(ctx, list)
}

func oldest(list []debt) time.Time {
	first := list[0].sent
	for _, x := range list[1:] {
		if x.sent.Before(first) {
			first = x.sent
		}
	}
	return first
}

// reclaim gives back what lost calls were granted under some tokens. It looks at the leases whose deadlines those calls
// can have written: they were sent after first, with the same TTL. The server counts back from the moment when it is
// asked: if that took longer than was allowed for, it is asked anew.
func (sp *space) reclaim(ctx context.Context, ttl time.Duration, first time.Time, tokens []string) error {
	return sinceThen(first, func(elapsed time.Duration) (time.Duration, error) {
		return sp.reclaimSince(ctx, ttl, elapsed, tokens)
	})
}

// sinceThen asks about what may have happened since a moment. Ask is given how long ago that was, as the server may see it
// when it is asked, and tells how long it took to ask.
func sinceThen(first time.Time, ask func(elapsed time.Duration) (took time.Duration, err error)) error {
	for slack := clockSlack; ; {
		took, err := ask(time.Since(first) + slack)
		if err != nil || took <= slack {
			return err
		}
		slack = 2 * took
	}
}

// parting carries a call out, also as the last attempt, which Close waits for.
func (sp *space) parting(ctx context.Context, call invocation) ([]int64, error) {
	ask := func(ctx context.Context) ([]int64, error) {
		message, err := call.carryOut(ctx, sp.b)
		if err != nil {
			return nil, err
		}
		return message.AsIntSlice()
	}
	reply, err := await(ctx, sp.b, ask)
	if errors.Is(err, backend.ErrClosed) {
		last, cancel := context.WithTimeout(ctx, partingTimeout)
		defer cancel()
		reply, err = ask(last)
	}
	return reply, err
}

// reclaimSince looks among the deadlines that calls can have written that were sent at most elapsed ago, and tells how
// long it took to ask.
func (sp *space) reclaimSince(
	ctx context.Context, ttl, elapsed time.Duration, tokens []string,
) (took time.Duration, err error) {
	argv := make([]string, 0, len(sp.head)+6+len(tokens))
	argv = append(append(argv, sp.head...), strconv.FormatInt(backend.Millis(elapsed), 10),
		strconv.FormatInt(backend.Millis(ttl), 10), "", "", "0", strconv.Itoa(leasePage))
	next := argv[len(sp.head)+2 : len(sp.head)+5] // where to go on
	argv = append(argv, tokens...)
	returned := int64(0)
	for begin := time.Now(); ; {
		reply, err := sp.parting(ctx, invocation{reclaimScript, sp.keys, argv})
		if err != nil {
			return 0, err
		}
		if len(reply) != 5 {
			return 0, errReply
		}
		if took == 0 {
			took = max(time.Since(begin), 1)
		}
		returned += reply[1]
		if reply[0] < leasePage {
			break
		}
		for i := range next {
			next[i] = strconv.FormatInt(reply[2+i], 10)
		}
	}
	if returned > 0 {
		sp.b.log.Info("gave back what lost calls were granted", "namespace", sp.ns.String(), "members", returned)
	}
	return took, nil
}

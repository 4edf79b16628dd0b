package model_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
)

// What listeners do.

// listening is one listener on both sides.
type listening struct {
	wake  [2]<-chan struct{}
	lost  [2]<-chan backend.Held
	told  [2][]backend.Held
	woken [2]bool           // since it last called
	idle  [2]map[string]int // as it last called: how much room it has in its queues, if it has taken all that there was
}

// fetchRequest draws a call of a listener.
func (p *tasks) fetchRequest() backend.FetchRequest {
	req := backend.FetchRequest{
		Namespace: p.ns, Listener: p.listener(), Token: p.token(), TTL: long, Mark: long,
		Max: rapid.IntRange(0, 4).Draw(p.t, "max"), Queues: everyQueue(),
	}
	for i := range req.Queues {
		if p.chance(3, "little room") {
			req.Queues[i].Room = rapid.IntRange(0, 2).Draw(p.t, "room")
		}
	}
	// Who leaves out a class may be woken for a task that he does not look for: all look everywhere.
	var all []backend.FetchLane
	for i := range req.Queues {
		for _, class := range taskClasses {
			all = append(all, backend.FetchLane{Queue: i, Class: class, Max: 1})
		}
	}
	req.Lanes = append(rapid.Permutation(all).Draw(p.t, "first"), rapid.Permutation(all).Draw(p.t, "then")...)
	for i := range req.Lanes {
		req.Lanes[i].Max = rapid.IntRange(1, 3).Draw(p.t, "lane")
	}
	return req
}

// listener draws one, for whom another one has come if he left.
func (p *tasks) listener() string {
	name := rapid.SampledFrom(listenerNames).Draw(p.t, "listener")
	return fmt.Sprintf("%s/%d", name, p.left[name])
}

// fetches fetches on both sides.
func (p *tasks) fetches(req backend.FetchRequest) []backend.TaskGrant {
	l := p.listening[req.Listener]
	if l == nil {
		l = &listening{}
	}
	p.listen() // what it was told before this call
	got := both(p.pair, "Fetch", func(ctx context.Context, be backend.Backend) (backend.FetchReply, error) { return be.Fetch(ctx, req) })
	l.woken = [2]bool{}
	if req.Leave {
		delete(p.listening, req.Listener)
		return nil
	}
	p.listening[req.Listener] = l
	for side := range got {
		reply := &got[side]
		l.wake[side], l.lost[side] = reply.Wake, reply.Lost
		l.idle[side] = roomLeft(&req, reply)
		reply.Wake, reply.Lost, reply.Next = nil, nil, 0 // who sees to what is due is a backend's own to decide
		for i := range reply.Tasks {
			g := &reply.Tasks[i]
			if g.Fence <= p.fences[side] {
				p.t.Fatalf("Fetch: side %d gave fence %d after %d", side, g.Fence, p.fences[side])
			}
			p.fences[side] = g.Fence
			g.Fence, g.TTL, g.Task = 1, min(g.TTL, 1), timeless(g.Task)
		}
		if len(reply.Tasks) == 0 {
			reply.Tasks = nil
		}
	}
	// Ids of tasks that were cancelled may still lie in a lane: then one side knows only with the next call that it is empty.
	for side := range got {
		got[side].Idle = got[side].Idle && got[1-side].Idle
	}
	if !reflect.DeepEqual(got[0], got[1]) {
		p.mismatch(fmt.Sprintf("Fetch %+v", req), got[0], got[1])
	}
	for _, g := range got[0].Tasks {
		p.leases = append(p.leases, backend.Held{Member: g.Task.ID, Token: g.Token})
	}
	return got[0].Tasks
}

func (p *tasks) fetch() { p.fetches(p.fetchRequest()) }

// fetchBriefly takes a task under a lease that then runs out.
func (p *tasks) fetchBriefly() {
	req := p.fetchRequest()
	req.Max, req.TTL = 1, fleeting
	for _, g := range p.fetches(req) {
		p.dies(g.Task.ID, g.Task.Deaths+1)
	}
}

func (p *tasks) leaves() {
	req := p.fetchRequest()
	req.Leave = true
	p.fetches(req)
	p.left[req.Listener[:2]]++
}

// lease draws a task and a token: mostly ones that belong together.
func (p *tasks) lease() backend.Held {
	if len(p.leases) > 0 && !p.chance(6, "stranger") {
		if p.chance(4, "old") {
			return rapid.SampledFrom(p.leases).Draw(p.t, "lease")
		}
		last := p.leases[max(0, len(p.leases)-4):]
		return rapid.SampledFrom(last).Draw(p.t, "lease")
	}
	return backend.Held{Member: rapid.SampledFrom(p.ids).Draw(p.t, "id"), Token: p.known()}
}

func (p *tasks) report() {
	req := backend.ReportRequest{Namespace: p.ns}
	for range rapid.IntRange(1, 3).Draw(p.t, "items") {
		h := p.lease()
		it := backend.TaskReport{
			ID: h.Member, Token: h.Token, Data: []byte(rapid.SampledFrom([]string{"", "x", "\xff\x00", `"}`}).Draw(p.t, "data")),
			Kind: backend.ReportKind(rapid.IntRange(int(backend.ReportProgress), int(backend.ReportReturn)).Draw(p.t, "kind")),
		}
		if state := p.info(0, h.Member).State; state == backend.TaskCancelled || state == backend.TaskExpired {
			it.Kind = backend.ReportDone // whether it is known how the last attempt ended is left open
		}
		if it.Kind == backend.ReportRetry && p.chance(2, "later") {
			it.After = long
		}
		req.Items = append(req.Items, it)
	}
	p.reports(req)
}

func (p *tasks) reports(req backend.ReportRequest) []bool {
	return agree(p.pair, "Report", func(ctx context.Context, be backend.Backend) (backend.ReportReply, error) {
		return be.Report(ctx, req)
	}).Accepted
}

// retryBriefly gives back what is due again in a moment.
func (p *tasks) retryBriefly() {
	h := p.lease()
	if p.info(0, h.Member).State != backend.TaskRunning {
		p.t.Skip("it does not run")
	}
	it := backend.TaskReport{ID: h.Member, Token: h.Token, Kind: backend.ReportRetry, Data: []byte("e"), After: fleeting}
	if p.reports(backend.ReportRequest{Namespace: p.ns, Items: []backend.TaskReport{it}})[0] {
		p.becomes(h.Member, backend.TaskWaiting)
	}
}

func (p *tasks) renew() {
	var items []backend.Renewal
	for range rapid.IntRange(1, 3).Draw(p.t, "items") {
		h := p.lease()
		items = append(items, backend.Renewal{
			Member: h.Member, Token: h.Token, TTL: rapid.SampledFrom([]time.Duration{long, 2 * long, backend.NoExpiry}).Draw(p.t, "ttl"),
		})
	}
	p.renews(items...)
}

func (p *tasks) renews(items ...backend.Renewal) []bool {
	return agree(p.pair, "RenewTasks", func(ctx context.Context, be backend.Backend) (backend.RenewReply, error) {
		return be.RenewTasks(ctx, backend.RenewRequest{Namespace: p.ns, Items: items})
	}).Renewed
}

// renewBriefly lets a lease run out that was to last longer.
func (p *tasks) renewBriefly() {
	h := p.lease()
	before := p.info(0, h.Member)
	if p.renews(backend.Renewal{Member: h.Member, Token: h.Token, TTL: fleeting})[0] {
		p.dies(h.Member, before.Deaths+1)
	}
}

// listen receives what listeners were told.
func (p *tasks) listen() {
	for _, l := range p.listening {
		for side := range p.be {
			select {
			case <-l.wake[side]:
				l.woken[side] = true
			default:
			}
			for more := true; more; {
				select {
				case h := <-l.lost[side]:
					l.told[side] = append(l.told[side], h)
				default:
					more = false
				}
			}
		}
	}
}

// roomLeft is how many more tasks of each queue a listener could take that is idle.
func roomLeft(req *backend.FetchRequest, got *backend.FetchReply) map[string]int {
	left := map[string]int{}
	for _, q := range req.Queues {
		room := q.Room
		for _, g := range got.Tasks {
			if g.Task.Queue == q.Name {
				room--
			}
		}
		if room = min(room, req.Max-len(got.Tasks)); room > 0 && got.Idle {
			left[q.Name] = room
		}
	}
	return left
}

// heard reports whether listeners have lost the same on both sides, and whether somebody was woken where there is something
// to do and somebody who is idle.
func (p *tasks) heard(states *[2]taskStates) bool {
	p.listen()
	for _, l := range p.listening {
		for side := range l.told {
			slices.SortFunc(l.told[side], cmpHeld)
		}
		if !slices.Equal(l.told[0], l.told[1]) {
			return false
		}
	}
	for side := range p.be {
		woken := false
		for _, l := range p.listening {
			woken = woken || l.woken[side]
		}
		if woken {
			continue
		}
		for i, queue := range queueNames {
			for _, l := range p.listening {
				if stats := &states[side].Stats[i]; l.idle[side][queue] > 0 && stats.Waiting > 0 && !stats.Paused {
					return false
				}
			}
		}
	}
	return true
}

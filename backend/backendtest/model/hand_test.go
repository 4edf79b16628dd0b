package model_test

import (
	"context"
	"slices"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
)

// What administrators and lock pools do: values and sets.

func (p *pair) condition() (backend.Condition, string) {
	cond := backend.Condition(rapid.IntRange(int(backend.Always), int(backend.IfNumNotEqual)).Draw(p.t, "condition"))
	if cond.Numeric() {
		return cond, rapid.SampledFrom(operands[2:]).Draw(p.t, "operand")
	}
	return cond, rapid.SampledFrom(operands).Draw(p.t, "operand")
}

// batch is how many locks are touched by hand at once: one where somebody waits, because the order in which several come
// free is the backend's own.
func (p *pair) batch() int {
	if len(p.waiters) > 0 {
		return 1
	}
	return 3
}

func (p *pair) set() {
	req := backend.SetRequest{Namespace: p.ns, Each: rapid.Bool().Draw(p.t, "each"), Fence: p.chance(3, "fence")}
	for _, n := range p.some(lockNames, 1, p.batch()) {
		it := backend.SetItem{Name: n, Value: rapid.SampledFrom(handValues).Draw(p.t, "value"), TTL: p.ttl()}
		it.Cond, it.Operand = p.condition()
		req.Items = append(req.Items, it)
	}
	got := both(p, "Set", func(ctx context.Context, be backend.Backend) (backend.SetReply, error) { return be.Set(ctx, req) })
	if !slices.Equal(got[0].Set, got[1].Set) {
		p.mismatch("Set", got[0], got[1])
	}
	for i, reply := range got {
		for _, f := range slices.Sorted(slices.Values(reply.Fences)) {
			if f != 0 && f <= p.fences[i] {
				p.t.Fatalf("side %d drew fence %d after %d", i, f, p.fences[i])
			}
			p.fences[i] = max(p.fences[i], f)
		}
	}
}

func (p *pair) delete() {
	req := backend.DeleteRequest{Namespace: p.ns, Each: rapid.Bool().Draw(p.t, "each")}
	for _, n := range p.some(lockNames, 1, p.batch()) {
		it := backend.DeleteItem{Name: n}
		if p.chance(3, "conditional") {
			it.Cond, it.Operand = p.condition()
		}
		req.Items = append(req.Items, it)
	}
	agree(p, "Delete", func(ctx context.Context, be backend.Backend) (backend.DeleteReply, error) { return be.Delete(ctx, req) })
}

// bind binds or unbinds by hand.
func (p *pair) bind() {
	name := rapid.SampledFrom(bindNames).Draw(p.t, "binding")
	if p.chance(3, "unbind") {
		agree(p, "Delete", func(ctx context.Context, be backend.Backend) (backend.DeleteReply, error) {
			return be.Delete(ctx, backend.DeleteRequest{
				Namespace: p.ns, Kind: backend.KindBinding, Items: []backend.DeleteItem{{Name: name}},
			})
		})
		return
	}
	it := backend.SetItem{Name: name, Value: rapid.SampledFrom(lockNamesForPools).Draw(p.t, "member"), TTL: p.ttl()}
	agree(p, "Set", func(ctx context.Context, be backend.Backend) (backend.SetReply, error) {
		return be.Set(ctx, backend.SetRequest{Namespace: p.ns, Kind: backend.KindBinding, Items: []backend.SetItem{it}})
	})
}

// setEdit draws names for a set, which has a namespace of its own.
func (p *pair) setEdit() backend.SetEdit {
	return backend.SetEdit{Namespace: p.setSpace(), Names: p.some(lockNames, 0, 4)}
}

func (p *pair) setSpace() backend.Namespace {
	ns := p.ns
	ns.Suffix = "lock"
	return ns
}

func (p *pair) add() {
	req := p.setEdit()
	agree(p, "Add", func(ctx context.Context, be backend.Backend) (int, error) { return be.Add(ctx, req) })
}

func (p *pair) remove() {
	req := p.setEdit()
	agree(p, "Remove", func(ctx context.Context, be backend.Backend) (int, error) { return be.Remove(ctx, req) })
}

func (p *pair) replace() {
	req := p.setEdit()
	agree(p, "Replace", func(ctx context.Context, be backend.Backend) (struct{}, error) {
		return struct{}{}, be.Replace(ctx, req)
	})
}

package rueidis

import (
	"maps"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// space is one namespace: its keys, its combiners and its lines.
type space struct {
	b    *Backend
	ns   backend.Namespace
	keys []string // KEYS of the scripts on pools and lines, in the order of prelude.lua
	none []string // the last of the KEYS of all scripts that find keys as they go, see moving.go
	head []string // the first three of their ARGV
	comb combiner // of what is wanted of the pool

	lockKeys lockKeys
	lockComb combiner // of what is wanted of names

	sub subscription // see push.go

	taskKeys taskKeys
	taskComb combiner  // of what is wanted of tasks
	tasks    taskSpace // see taskspace.go

	line, lockLine line // of those who wait for members, and for names; see lines.go
}

// space gives the state of a namespace, which lives as long as the backend. The namespace has been validated.
func (b *Backend) space(ns backend.Namespace) (*space, error) {
	b.mu.RLock()
	sp, closed := b.spaces[ns], b.closed
	b.mu.RUnlock()
	if closed {
		return nil, backend.ErrClosed
	}
	if sp != nil {
		return sp, nil
	}
	if b.cluster && !ns.HashTag {
		return nil, backend.ErrUnsupported
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if sp = b.spaces[ns]; sp == nil {
		sp = newSpace(b, ns)
		b.spaces[ns] = sp
	}
	return sp, nil
}

// allSpaces gives those that there are.
func (b *Backend) allSpaces() []*space {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Collect(maps.Values(b.spaces))
}

func newSpace(b *Backend, ns backend.Namespace) *space {
	sp := &space{b: b, ns: ns, none: nowhere(b, ns)}
	sp.keys = with([]string{
		ns.Pool(), ns.PoolHead(), ns.PoolTail(), ns.Leases(), ns.Fence(),
		ns.Line(), ns.LineRequests(), ns.LineProcesses(), ns.PoolCursor(), ns.LineSequence(),
	}, sp.none...)
	sp.head = []string{ns.LockPrefix(), ns.BindingPrefix(), ns.WakeChannel("")}
	sp.comb.sp, sp.comb.send = sp, sp.exchange
	sp.lockKeys = newLockKeys(ns, sp.none...)
	sp.lockComb.sp, sp.lockComb.send = sp, sp.lockExchange
	sp.taskKeys = newTaskKeys(ns, b.cluster, sp.none)
	sp.taskComb.sp, sp.taskComb.send = sp, sp.taskExchange
	sp.tasks.sp = sp
	sp.line.sp, sp.line.kind, sp.line.single = sp, poolLine{sp}, true
	sp.lockLine.sp, sp.lockLine.kind = sp, namesLine{sp, sp.lockKeys}
	return sp
}

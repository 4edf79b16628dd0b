package backend

import "fmt"

// CheckPool holds a whole pool, as [Pools.Inspect] with Limit 0 has seen it, against the invariants of [Pools] and
// describes what is broken; nil means that nothing is. With exclusive, a free member with a lock is broken, too:
// leave it out for shared pools, and for pools where others set locks by hand.
func CheckPool(r InspectReply, exclusive bool) []string {
	var broken []string
	report := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }

	at := make(map[string]*MemberState, len(r.Members))
	free := 0
	for i := range r.Members {
		m := &r.Members[i]
		if at[m.Name] != nil {
			report("member %q is listed twice", m.Name)
		}
		at[m.Name] = m
		if (m.Prev == Allocated) != (m.Next == Allocated) {
			report("member %q is half allocated: %q, %q", m.Name, m.Prev, m.Next)
		}
		if m.Free() {
			free++
			if exclusive && m.Locked {
				report("member %q is free and locked by %q", m.Name, m.Owner)
			}
		}
	}
	walk := func(way, from, to string, step func(*MemberState) (next, back string)) {
		last, n := "", 0
		for name := from; name != ""; {
			m := at[name]
			if m == nil || !m.Free() || n >= free {
				report("%s walk: after %q comes %q, which is no further free member", way, last, name)
				return
			}
			next, back := step(m)
			if back != last {
				report("%s walk: %q points back to %q, not to %q", way, name, back, last)
				return
			}
			last, name, n = name, next, n+1
		}
		if last != to {
			report("%s walk ends at %q, not at %q", way, last, to)
		}
		if n != free {
			report("%s walk meets %d of %d free members", way, n, free)
		}
	}
	walk("forward", r.Head, r.Tail, func(m *MemberState) (string, string) { return m.Next, m.Prev })
	walk("backward", r.Tail, r.Head, func(m *MemberState) (string, string) { return m.Prev, m.Next })
	return broken
}

package backendtest

import (
	"testing"
	"testing/synctest"

	"github.com/redisallocator/redisallocator/backend"
)

// Run runs all cases, one subtest each, against the backends that open gives, one for each case. They are closed when
// their case ends; closing them again does no harm.
//
// Time is real: where something has to run out, the cases use short lifetimes and look until it has. Since they mostly
// wait, they run in parallel, as many at once as the flag -parallel allows. Open is called by several of them at once.
func Run(t *testing.T, open func(t *testing.T) backend.Backend) {
	t.Helper()
	byRole(t, true, func(t *testing.T, c Case) { runCase(t, c, open) })
}

// RunBubble is [Run] with each case in a testing/synctest bubble of its own, in which open is called, too. The cases run
// one after the other.
func RunBubble(t *testing.T, open func(t *testing.T) backend.Backend) {
	t.Helper()
	byRole(t, false, func(t *testing.T, c Case) {
		synctest.Test(t, func(t *testing.T) { runCase(t, c, open) })
	})
}

// byRole groups the subtests by role.
func byRole(t *testing.T, parallel bool, run func(*testing.T, Case)) {
	t.Helper()
	cases := Cases()
	for len(cases) > 0 {
		role, n := cases[0].Role, 1
		for n < len(cases) && cases[n].Role == role {
			n++
		}
		group := cases[:n]
		cases = cases[n:]
		t.Run(role, func(t *testing.T) {
			if parallel {
				t.Parallel()
			}
			for _, c := range group {
				t.Run(c.Name, func(t *testing.T) {
					if parallel {
						t.Parallel()
					}
					run(t, c)
				})
			}
		})
	}
}

func runCase(t *testing.T, c Case, open func(t *testing.T) backend.Backend) {
	t.Helper()
	be := open(t)
	defer closing(t, be)
	c.Check(t, be)
}

// closing closes be at the end of a test.
func closing(t *testing.T, be backend.Backend) {
	t.Helper()
	if err := be.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

package backendtest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/backendtest"
)

// mutant is a backend with a defect, and the case that is there to notice it.
type mutant struct {
	name    string
	noticed string
	broken  broken
}

func (m mutant) wrap(be backend.Backend) backend.Backend {
	b := m.broken
	b.Backend = be
	return &b
}

// TestNoticesBrokenBackends runs the suite against backends that are broken on purpose: the case that is there to notice
// has to; what else notices is looked for only where it does not.
func TestNoticesBrokenBackends(t *testing.T) {
	t.Parallel()
	cases := backendtest.Cases()
	for _, m := range slices.Concat(
		brokenValues(), brokenPools(), brokenLeases(), brokenLines(), brokenLocks(), brokenUnits(), brokenNames(), brokenTurns(), brokenClaims(),
		brokenSubmissions(), brokenFetches(), brokenReports(), brokenWatches(), brokenWakes(), brokenEdits(), brokenCounts(),
	) {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			i := slices.IndexFunc(cases, func(c backendtest.Case) bool { return c.String() == m.noticed })
			if i < 0 {
				t.Fatalf("there is no case %s", m.noticed)
			}
			for range 5 { // what only shows in a crowd does not show every time
				if got := failures(t, m.wrap, cases[i].Check); len(got) > 0 {
					t.Logf("%s: %s", m.noticed, got[0])
					return
				}
			}
			var others []string
			for _, c := range cases {
				if len(failures(t, m.wrap, c.Check)) > 0 {
					others = append(others, c.String())
				}
			}
			t.Errorf("not noticed by %s, but by %q", m.noticed, others)
		})
	}
}

// TestNoticesNothingElse runs the suite the same way against a backend that is whole.
func TestNoticesNothingElse(t *testing.T) {
	t.Parallel()
	for _, c := range backendtest.Cases() {
		if got := failures(t, mutant{}.wrap, c.Check); len(got) > 0 {
			t.Errorf("%s: %s", c, got[0])
		}
	}
}

func TestCases(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range backendtest.Cases() {
		if seen[c.String()] {
			t.Errorf("there are two cases %s", c)
		}
		seen[c.String()] = true
		if c.Role == "" || c.Name == "" || !strings.HasSuffix(c.Sentence, ".") {
			t.Errorf("case %s: role, name and a whole sentence are needed, not %q", c, c.Sentence)
		}
	}
}

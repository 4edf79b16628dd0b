package backendtest

import (
	"context"
	"fmt"
	"slices"

	"github.com/redisallocator/redisallocator/backend"
)

// TB is what a case needs of a *testing.T. Fatalf must not return, as in testing.TB.
type TB interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Case checks one sentence of the contract.
type Case struct {
	Role     string // the part of the contract: "values", "take", ...
	Name     string // unique within its role
	Sentence string // what the contract says

	check func(*room)
}

// Cases lists all cases, role by role, in a fixed order.
func Cases() []Case {
	var all []Case
	for _, role := range []struct {
		name  string
		cases []Case
	}{
		{"values", valueCases},
		{"conditions", conditionCases},
		{"sets", setCases},
		{"edit", editCases},
		{"take", takeCases},
		{"shared", sharedCases},
		{"prefer", preferCases},
		{"binding", bindingCases},
		{"return", returnCases},
		{"renew", renewCases},
		{"lapse", lapseCases},
		{"expiry", expiryCases},
		{"collect", collectCases},
		{"inspect", inspectCases},
		{"line", lineCases},
		{"handover", handoverCases},
		{"claim", claimCases},
		{"leave", leaveCases},
		{"lock", lockCases},
		{"units", unitCases},
		{"again", againCases},
		{"unlock", unlockCases},
		{"renew-locks", renewLockCases},
		{"lock-values", lockValueCases},
		{"lock-line", lockLineCases},
		{"multi", multiCases},
		{"lock-handover", lockHandoverCases},
		{"lock-claim", lockClaimCases},
		{"lock-leave", lockLeaveCases},
		{"submit", submitCases},
		{"fetch", fetchCases},
		{"report", reportCases},
		{"task-lease", taskLeaseCases},
		{"watch", taskWatchCases},
		{"task-expiry", taskExpiryCases},
		{"task-edit", taskEditCases},
		{"tasks", taskListCases},
		{"wake", wakeCases},
		{"invalid", slices.Concat(invalidCases, invalidLockCases, invalidTaskCases)},
		{"concurrency", slices.Concat(concurrencyCases, lockCrowdCases, taskCrowdCases)},
		{"end", slices.Concat(endCases, taskEndCases)},
	} {
		for _, c := range slices.Clone(role.cases) {
			c.Role = role.name
			all = append(all, c)
		}
	}
	return all
}

// String is the role and the name of the case.
func (c Case) String() string { return c.Role + "/" + c.Name }

// Check runs the case against be, in a namespace of its own, and holds the pool against its invariants afterwards. The
// case may close the backend.
func (c Case) Check(tb TB, be backend.Backend) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	r := &room{tb: tb, be: be, ctx: ctx, ns: newNamespace(), sentence: c.Sentence, exclusive: true}
	c.check(r)
	if p, ok := be.(*partial); ok && !p.hasPools() {
		return
	}
	if !r.poolless {
		r.sound()
	}
}

// Errorf reports a failure together with the sentence that was broken.
func (r *room) Errorf(format string, args ...any) {
	r.tb.Helper()
	r.tb.Errorf("%s\nthe contract: %s", fmt.Sprintf(format, args...), r.sentence)
}

// Fatalf is Errorf, and ends the case.
func (r *room) Fatalf(format string, args ...any) {
	r.tb.Helper()
	r.tb.Fatalf("%s\nthe contract: %s", fmt.Sprintf(format, args...), r.sentence)
}

package policy_test

import (
	"context"
	"testing"

	"github.com/redisallocator/redisallocator/policy"
)

// nothing answers at once, so that the policy is all that is measured.
type nothing struct{ view }

func (*nothing) Allocate(context.Context, request) (leases, error) { return nil, nil }

func BenchmarkDefault(b *testing.B) {
	var p view = &nothing{newFake()}
	pol := policy.Default(policy.Defaults[*thing]{Updater: policy.NewUpdater(static("a"))})
	b.ReportAllocs()
	for b.Loop() {
		_, _ = pol.Allocate(b.Context(), p, request{Count: 1})
	}
}

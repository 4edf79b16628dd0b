package redistest_test

import (
	"strings"
	"testing"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestDurableServerKeepsItsData(t *testing.T) {
	t.Parallel()
	url, restart, stop, err := redistest.LaunchDurable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	addr := strings.TrimPrefix(url, "redis://")
	before := dial(t, addr)
	before.do("SET key value", "+OK")
	for range 2 {
		if err := restart(); err != nil {
			t.Fatal(err)
		}
		dial(t, addr).do("GET key", "$5")
	}
	before.expectEnd()
}

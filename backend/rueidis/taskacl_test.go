package rueidis

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestACLOfTasks shows that the rules that ACLRules gives are enough for task queues, and what a user gets who has less.
func TestACLOfTasks(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	for name, test := range map[string]struct {
		rules   func(r watchRoom) []string
		allowed bool
	}{
		"enough":    {func(r watchRoom) []string { return ACLRules(r.ns) }, true},
		"odd names": {func(r watchRoom) []string { return ACLRules(r.ns) }, true},
		// who may not publish, or subscribe, is told nothing and looks for himself
		"no channels": {func(watchRoom) []string { return append(ACLRules(), "~*", "resetchannels") }, true},
		"no keys":     {func(watchRoom) []string { return append(ACLRules(), "&*") }, false},
		"other keys":  {func(watchRoom) []string { return append(ACLRules(), "~other|*", "&*") }, false},
		"locks only":  {func(r watchRoom) []string { return append(ACLRules(), "~"+escapeGlob(r.ns.LockPrefix())+"*", "&*") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWatchRoom(t, url)
			if name == "odd names" {
				r.ns.Prefix, r.ns.HashTag = r.ns.Prefix+`*[a-z]?\`, true
			}
			b := r.process(r.user(test.rules(r)...))
			r.furnishTasks(r.process(url))
			furnished := r.saved()
			for _, m := range taskMethods() {
				r.restore(furnished)
				before := r.dump()
				err := m.do(t.Context(), b, r.ns)
				if test.allowed {
					assert.NoError(t, err, m.name)
					continue
				}
				require.ErrorIs(t, err, backend.ErrPermission, m.name)
				require.ErrorContains(t, err, rules(r.ns), m.name)
				require.Equal(t, before, r.dump(), m.name)
			}
			r.restore(nil)
		})
	}
}

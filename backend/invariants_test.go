package backend_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func pool(head, tail string, members ...backend.MemberState) backend.InspectReply {
	return backend.InspectReply{Head: head, Tail: tail, Members: members, Total: len(members)}
}

func member(name, prev, next string) backend.MemberState {
	return backend.MemberState{Name: name, Prev: prev, Next: next}
}

func TestCheckPoolFindsNothingInASoundPool(t *testing.T) {
	locked := member("c", backend.Allocated, backend.Allocated)
	locked.Locked = true
	require.Empty(t, backend.CheckPool(pool("", ""), true))
	require.Empty(t, backend.CheckPool(pool("a", "b", member("a", "", "b"), member("b", "a", ""), locked), true))
}

func TestCheckPoolFindsEachKindOfDamage(t *testing.T) {
	freeAndLocked := member("a", "", "")
	freeAndLocked.Locked = true
	for name, broken := range map[string]backend.InspectReply{
		"head without a list":   pool("a", "a"),
		"list without a head":   pool("", "", member("a", "", "")),
		"tail elsewhere":        pool("a", "b", member("a", "", ""), member("b", backend.Allocated, backend.Allocated)),
		"circle":                pool("a", "b", member("a", "", "b"), member("b", "a", "a")),
		"wrong way back":        pool("a", "c", member("a", "", "b"), member("b", "c", "c"), member("c", "b", "")),
		"head has predecessor":  pool("a", "b", member("a", "b", "b"), member("b", "a", "")),
		"tail has successor":    pool("a", "b", member("a", "", "b"), member("b", "a", "c")),
		"unreachable":           pool("a", "a", member("a", "", ""), member("b", "", "")),
		"half allocated":        pool("", "", member("a", backend.Allocated, "")),
		"half allocated, other": pool("", "", member("a", "", backend.Allocated)),
		"free and locked":       pool("a", "a", freeAndLocked),
		"twice":                 pool("a", "a", member("a", "", ""), member("a", "", "")),
	} {
		assert.NotEmpty(t, backend.CheckPool(broken, true), name)
	}
	assert.Empty(t, backend.CheckPool(pool("a", "a", freeAndLocked), false), "where others may lock by hand")
}

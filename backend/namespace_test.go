package backend_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

// The names that running Python processes use, letter by letter.
func TestNamesArePythons(t *testing.T) {
	ns := backend.Namespace{Prefix: "crawler", Suffix: "proxies"}

	assert.Equal(t, "crawler|proxies:10.0.0.1:80", ns.Lock("10.0.0.1:80"))
	assert.Equal(t, "crawler|proxies|pool", ns.Pool())
	assert.Equal(t, "crawler|proxies|pool|head", ns.PoolHead())
	assert.Equal(t, "crawler|proxies|pool|tail", ns.PoolTail())
	assert.Equal(t, "crawler|proxies|pool|gc_cursor", ns.PoolCursor())
	assert.Equal(t, "crawler|proxies-cache:bind:alice", ns.Binding("alice"))
	assert.Equal(t, "crawler|proxies:crawler|proxies|pool|policy_update_lock", ns.Lock(ns.RefreshLock()))
}

func TestEveryNameOfANamespaceStartsWithItsBase(t *testing.T) {
	for _, ns := range []backend.Namespace{
		{Prefix: "a", Suffix: "b"},
		{Prefix: "a", Suffix: "b", HashTag: true},
	} {
		for _, name := range []string{
			ns.Lock("x"), ns.LockPrefix(), ns.Binding("x"), ns.BindingPrefix(), ns.Pool(), ns.PoolHead(), ns.PoolTail(),
			ns.PoolCursor(), ns.RefreshLock(), ns.Leases(), ns.Fence(), ns.Line(), ns.LineRequests(),
			ns.LineProcesses(), ns.LineSequence(), ns.WakeChannel("p"), ns.LockLine("x"), ns.LockLinePrefix(),
			ns.LockHolders("x"), ns.LockHoldersPrefix(), ns.LockUnitsPrefix(), ns.LockEntriesPrefix(), ns.LockLimits(),
			ns.LockRequests(), ns.LockProcesses(), ns.LockSequence(),
		} {
			assert.True(t, strings.HasPrefix(name, ns.Base()), name)
		}
	}
	assert.Equal(t, "{a|b}|pool", backend.Namespace{Prefix: "a", Suffix: "b", HashTag: true}.Pool())
}

// No name of a lock makes its keys those of something else.
func TestKeysOfLocksAreApart(t *testing.T) {
	ns := backend.Namespace{Prefix: "a", Suffix: "b"}
	seen := map[string]string{}
	for _, name := range []string{"", "x", "s:x", "line:x", "|locks|line:x"} {
		for what, key := range map[string]string{
			"lock": ns.Lock(name), "line": ns.LockLine(name), "holders": ns.LockHolders(name),
			"units": ns.LockUnitsPrefix() + name, "entries": ns.LockEntriesPrefix() + name, "binding": ns.Binding(name),
		} {
			what += " of " + name
			assert.Empty(t, seen[key], "%s is the %s", key, what)
			seen[key] = what
		}
	}
	for what, key := range map[string]string{
		"pool": ns.Pool(), "line": ns.Line(), "requests": ns.LineRequests(), "fence": ns.Fence(), "leases": ns.Leases(),
		"limits": ns.LockLimits(), "lock requests": ns.LockRequests(), "lock processes": ns.LockProcesses(),
		"lock sequence": ns.LockSequence(), "processes": ns.LineProcesses(), "sequence": ns.LineSequence(),
	} {
		assert.Empty(t, seen[key], "%s is the key of the %s, too", key, what)
		seen[key] = what
	}
	assert.Equal(t, "a|b|locks|line:x", ns.LockLine("x"))
	assert.Equal(t, "a|b|locks|holders:x", ns.LockHolders("x"))
}

func TestNamespaceRefusesWhatWouldLeaveItsSlot(t *testing.T) {
	require.NoError(t, backend.Namespace{Prefix: "a{b}", Suffix: "c"}.Validate())
	require.ErrorIs(t, backend.Namespace{Prefix: "a}", Suffix: "c", HashTag: true}.Validate(), backend.ErrInvalid)
}

func TestBadNamesAreRefused(t *testing.T) {
	long := strings.Repeat("x", backend.MaxNameLen)
	for _, bad := range []string{"", "a\x00b", "\xff\xfe", long + "x", strings.Repeat("x", 1<<20)} {
		for what, err := range map[string]error{
			"prefix": backend.Namespace{Prefix: bad, Suffix: "s"}.Validate(),
			"suffix": backend.Namespace{Prefix: "p", Suffix: bad}.Validate(),
			"name":   backend.ValidateName(bad),
			"token":  backend.ValidateToken(bad),
			"member": backend.ValidateMember(bad),
		} {
			var invalid *backend.InvalidError
			require.ErrorAs(t, err, &invalid, "%s %.20q", what, bad)
			require.ErrorIs(t, err, backend.ErrInvalid)
			assert.Equal(t, what, invalid.Field)
			assert.Less(t, len(err.Error()), 300, "an error is for reading")
		}
	}
	for _, good := range []string{"x", long, "héllo wörld", "'q'\"]]", "a:b|c", "\n\t"} {
		require.NoError(t, backend.ValidateMember(good))
	}
}

func TestMembersThatTheListCannotHoldAreRefused(t *testing.T) {
	for _, bad := range []string{"a||b", "||", backend.Allocated, "|a"} {
		require.ErrorIs(t, backend.ValidateMember(bad), backend.ErrInvalid, bad)
		require.NoError(t, backend.ValidateName(bad), "as a name it is fine")
	}
}

// FuzzMember: what is accepted as a member can be read back from the encoding that Python wrote into the hash, from
// either side of its neighbour.
func FuzzMember(f *testing.F) {
	for _, s := range []string{"", "a", "a|", "|a", "a||b", "#ALLOCATED", "h\xc3\xa9", "\xff", "a\x00"} {
		f.Add(s, "b|")
	}
	f.Fuzz(func(t *testing.T, prev, next string) {
		if backend.ValidateMember(prev) != nil || backend.ValidateMember(next) != nil {
			return
		}
		for _, links := range [][2]string{{prev, next}, {"", next}, {prev, ""}} {
			p, n, ok := greedySplit(links[0] + "||" + links[1] + "||-1")
			if !ok || p != links[0] || n != links[1] {
				t.Fatalf("%q, %q reads back as %q, %q", links[0], links[1], p, n)
			}
		}
	})
}

// greedySplit reads a value as "(.*)||(.*)||(.*)" does.
func greedySplit(value string) (prev, next string, ok bool) {
	last := strings.LastIndex(value, "||")
	if last < 0 {
		return "", "", false
	}
	first := strings.LastIndex(value[:last], "||")
	if first < 0 {
		return "", "", false
	}
	return value[:first], value[first+2 : last], true
}

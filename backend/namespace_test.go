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
	assert.Equal(t, "crawler|proxies|task-queue|resize", ns.TaskQueue("resize"))
	assert.Equal(t, "crawler|proxies|task-result:1", ns.TaskResult("1"))
	assert.Equal(t, "crawler|proxies|task-listen|resize", ns.TaskListen("resize"))
	assert.Equal(t, "crawler|proxies:alice", backend.KindLock.Prefix(ns)+"alice")
	assert.Equal(t, "crawler|proxies-cache:bind:alice", backend.KindBinding.Prefix(ns)+"alice")
	assert.Equal(t, "crawler|proxies", ns.String())
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
			ns.LockRequests(), ns.LockProcesses(), ns.LockSequence(), ns.TaskPrefix(), ns.TaskResultPrefix(),
			ns.TaskIdlers(), ns.TasksPaused(), ns.Task("x"), ns.TaskResult("x"),
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

// No name of a queue and no id makes its keys those of something else.
func TestKeysOfTasksAreApart(t *testing.T) {
	ns := backend.Namespace{Prefix: "a", Suffix: "b"}
	seen := map[string]string{ns.TaskIdlers(): "idlers", ns.TasksPaused(): "paused"}
	for _, name := range []string{"", "x", ":x", "|x", "high:x", "idlers", "s:x"} {
		for what, key := range map[string]string{
			"task": ns.Task(name), "result": ns.TaskResult(name), "listen": ns.TaskListen(name),
			"normal": ns.TaskLane(name, backend.ClassNormal), "high": ns.TaskLane(name, backend.ClassHigh),
			"low": ns.TaskLane(name, backend.ClassLow), "schedule": ns.TaskSchedule(name), "leases": ns.TaskLeases(name),
			"graveyard": ns.TaskGraveyard(name), "listeners": ns.TaskListeners(name), "idle": ns.TaskIdle(name),
			"totals": ns.TaskTotals(name), "ghosts": ns.TaskGhosts(name), "promises": ns.TaskPromises(name),
		} {
			what += " of " + name
			assert.Empty(t, seen[key], "%s is the %s", key, what)
			seen[key] = what
			assert.True(t, strings.HasPrefix(key, ns.Base()+"|"), key)
		}
	}
	assert.Equal(t, ns.TaskQueue("x"), ns.TaskLane("x", backend.ClassNormal), "the lane that Python knows")
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

func TestABadByteIsFoundAnywhere(t *testing.T) {
	for n := 1; n <= 40; n++ {
		good := strings.Repeat("\x7f\x01", n)[:n]
		require.NoError(t, backend.ValidateName(good))
		for i := range n {
			for _, bad := range []string{"\x00", "\x80", "\xff"} {
				require.ErrorIs(t, backend.ValidateName(good[:i]+bad+good[i+1:]), backend.ErrInvalid, "%q at %d of %d", bad, i, n)
			}
		}
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

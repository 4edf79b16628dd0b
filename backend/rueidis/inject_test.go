package rueidis

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// nasty are names that mean something to Lua, to Redis, to its protocol, to patterns or to our own formats, and to
// nobody here.
var nasty = []string{
	`"); redis.call('FLUSHALL'); --`, `'..redis.call('FLUSHALL')..'`, "]] redis.call('FLUSHALL') --[[", "]=]", `\`, `\"`, `'`, `"`, "--", "${x}",
	"\n", "\r\n", "\r\n*1\r\n$8\r\nFLUSHALL\r\n", "$-1\r\n", ":1", "-ERR no", "+OK", "_", " ", "\t", "\x01", "\x7f", "a b",
	"*", "?", "[a-z]", "[^a]", "h[ae]llo", `\*`, "a*", "**", "]", "[", "%", "%s", "%d%n", "%00", "%1", "^$", "^a.+-*?$", "(.*)",
	"{", "}", "{}", "{a}", "{a}b", "}{", "a|b", "a|", ":", "a:b", ":a", "0", "1", "-1", "1e309", "nan", "inf", "0x10", "true", "false", "nil", "",
	"#ALLOCATE", "#ALLOCATED ", "#ALLOCATED", "||", "|", "a||b", "|a", "ALLOCATED", "#", "3:abc", "1:G1:t1:m1:1", "0:", ",", ";", "../..", "/", "ü", "日本語", "\u202e", "\ufeff", "😀",
	"\u0085", "\u2028", "A", "a", "head", "tail", "pool", "G", "F", "w", "EVAL", "return 1", "KEYS[1]", "ARGV[1]", "local x = 1",
	strings.Repeat("x", backend.MaxNameLen), strings.Repeat("%", backend.MaxNameLen), strings.Repeat("ü", backend.MaxNameLen/2),
}

// drawnName draws what is valid as a name, drawnMember what is valid as a member, too.
func drawnName() *rapid.Generator[string] {
	pieces := rapid.SampledFrom(nasty)
	return rapid.OneOf(pieces, rapid.String(), rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(pieces, 1, 4).Draw(t, "pieces"), "")
	})).Filter(func(s string) bool { return backend.ValidateName(s) == nil })
}

func drawnMember() *rapid.Generator[string] {
	return drawnName().Filter(func(s string) bool { return backend.ValidateMember(s) == nil })
}

// injection is a server of its own, so that all its keys can be looked at.
type injection struct {
	url    string
	client rueidis.Client
	b      *Backend
}

func newInjection(t *testing.T) *injection {
	t.Helper()
	in := &injection{url: redistest.Start(t).URL()}
	option, err := rueidis.ParseURL(in.url)
	require.NoError(t, err)
	in.client, err = rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(in.client.Close)
	in.b, err = Open(t.Context(), in.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = in.b.Close() })
	return in
}

// failer is a test, by whatever package.
type failer interface {
	require.TestingT
	Helper()
}

// knowsOurs checks that the server knows no scripts but those that are ours: each is a file, none was made of a name.
func (in *injection) knowsOurs(t *testing.T) {
	t.Helper()
	ours := []*rueidis.Lua{
		exchangeScript, extendScript, shrinkScript, assignScript, releaseScript, collectScript, watchScript, leaveScript,
		reclaimScript, getScript, setScript, deleteScript, scanScript, replaceScript, inspectScript, queueScript,
		membersScript, lockExchangeScript, lockUndoScript, lockWatchScript, lockLeaveScript, lockForceScript, lockLimitScript,
		lockHoldersScript,
	}
	text, err := in.client.Do(t.Context(), in.client.B().Arbitrary("INFO", "memory").Build()).ToString()
	require.NoError(t, err)
	found := regexp.MustCompile(`number_of_cached_scripts:(\d+)`).FindStringSubmatch(text)
	require.Len(t, found, 2)
	known, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	assert.Positive(t, known)
	assert.LessOrEqual(t, known, len(ours)+1) // and what Open looks with
}

// keys are all that the server has.
func (in *injection) keys(t *testing.T) []string {
	t.Helper()
	keys, err := in.client.Do(t.Context(), in.client.B().Arbitrary("KEYS", "*").Build()).AsStrSlice()
	require.NoError(t, err)
	return keys
}

// use passes names through all operations and checks that they come back as they were.
func (in *injection) use(t *testing.T, f failer, ns backend.Namespace, m, n, token, name string) {
	ctx, b := t.Context(), in.b
	is := require.New(f)

	edit, err := b.Extend(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{m}, TTL: backend.NoExpiry})
	is.NoError(err)
	is.Equal(1, edit.Added)
	bound := backend.TakeRequest{Namespace: ns, Token: token, TTL: time.Hour, Binding: name, BindingTTL: time.Hour, Collect: 3}
	taken, err := b.Take(ctx, bound)
	is.NoError(err)
	is.Len(taken.Grants, 1)
	is.Equal(m, taken.Grants[0].Member)
	is.Equal(token, taken.Grants[0].Token)

	// what the lock, the binding and the pool say of it, and what lists say
	for kind, want := range map[backend.Kind][2]string{backend.KindLock: {m, token}, backend.KindBinding: {name, m}} {
		got, err := b.Get(ctx, backend.GetRequest{Namespace: ns, Kind: kind, Names: want[:1]})
		is.NoError(err)
		is.Equal(want[1], got[0].Value)
		var listed []string
		for cursor := ""; ; {
			page, err := b.Scan(ctx, backend.ScanRequest{Namespace: ns, Kind: kind, Cursor: cursor, Limit: backend.BatchLimit})
			is.NoError(err)
			listed = append(listed, page.Names...)
			if cursor = page.Cursor; cursor == "" {
				break
			}
		}
		is.Contains(listed, want[0])
	}
	in.looks(t, f, ns, m, token)

	// a second one waits, under a name of its own, and gets the member from the first
	second := token + "2"
	if len(second) > backend.MaxNameLen {
		second = token[:len(token)-4] + "2"
		for !utf8.ValidString(second) {
			second = second[:len(second)-2] + "2"
		}
	}
	wait := bound
	wait.Token = second
	entered, err := b.Enter(ctx, backend.EnterRequest{Take: wait, Priority: 3, ClaimTTL: time.Hour})
	is.NoError(err)
	is.NotNil(entered.Handover)
	queue, err := b.Queue(ctx, backend.QueueRequest{Namespace: ns, Token: second, Limit: 10})
	is.NoError(err)
	is.Equal(1, queue.Position)
	is.Equal(second, queue.Waiters[0].Token)
	returned, err := b.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: m, Token: token}}})
	is.NoError(err)
	is.Equal([]bool{true}, returned.Returned)
	select {
	case h := <-entered.Handover:
		is.NoError(h.Err)
		is.Len(h.Grants, 1)
		is.Equal(m, h.Grants[0].Member)
		is.Equal(second, h.Grants[0].Token)
	case <-time.After(patience):
		is.FailNow("no hand-over")
	}
	renewed, err := b.Renew(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
		{Member: m, Token: second, TTL: time.Hour, NewToken: token},
	}})
	is.NoError(err)
	is.Equal([]bool{true}, renewed.Renewed)
	in.looks(t, f, ns, m, token)
	left, err := b.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: second})
	is.NoError(err)
	is.Zero(left.Returned)

	// nothing of this is the other member's
	if m != n {
		_, err = b.Extend(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{n}, TTL: time.Hour})
		is.NoError(err)
		got, err := b.Take(ctx, backend.TakeRequest{Namespace: ns, Token: second, TTL: time.Hour, Prefer: []string{n}, Only: true})
		is.NoError(err)
		is.Equal(n, got.Grants[0].Member)
		freed, err := b.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: n}}, Force: true, MemberTTL: time.Hour})
		is.NoError(err)
		is.Equal([]bool{true}, freed.Returned)
		in.looks(t, f, ns, m, token)
		edit, err = b.Assign(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{m}, TTL: backend.NoExpiry})
		is.NoError(err)
		is.Equal(backend.EditReply{Removed: 1}, edit)
	}
	_, err = b.Collect(ctx, backend.CollectRequest{Namespace: ns, Count: 10})
	is.NoError(err)
	returned, err = b.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: m, Token: token}}})
	is.NoError(err)
	is.Equal([]bool{true}, returned.Returned)
	in.looks(t, f, ns, m, "")
	edit, err = b.Shrink(ctx, backend.ShrinkRequest{Namespace: ns, Members: []string{m}})
	is.NoError(err)
	is.Equal(1, edit.Removed)

	in.useNames(t, f, ns, name, token, second)

	// values and sets
	set := func(kind backend.Kind, item backend.SetItem) bool {
		reply, err := b.Set(ctx, backend.SetRequest{Namespace: ns, Kind: kind, Items: []backend.SetItem{item}, Fence: true})
		is.NoError(err)
		return reply.Set[0]
	}
	for _, kind := range []backend.Kind{backend.KindLock, backend.KindBinding} {
		is.True(set(kind, backend.SetItem{Name: name, Value: token, TTL: time.Hour}))
		is.True(set(kind, backend.SetItem{Name: name, Value: m, TTL: time.Hour, Cond: backend.IfEqual, Operand: token}))
		is.False(set(kind, backend.SetItem{Name: name, Value: token, TTL: time.Hour, Cond: backend.IfEqual, Operand: "no" + m[:len(m)/2]}))
		deleted, err := b.Delete(ctx, backend.DeleteRequest{Namespace: ns, Kind: kind, Items: []backend.DeleteItem{{Name: name}}})
		is.NoError(err)
		is.Equal([]bool{true}, deleted.Deleted)
	}
	for _, among := range [][]string{nil, {name}} {
		is.NoError(b.Replace(ctx, backend.SetEdit{Namespace: ns, Names: []string{name}}))
		got, err := b.Members(ctx, backend.MembersRequest{Namespace: ns, Among: among})
		is.NoError(err)
		is.Equal([]string{name}, got.Names)
		removed, err := b.Remove(ctx, backend.SetEdit{Namespace: ns, Names: []string{name}})
		is.NoError(err)
		is.Equal(1, removed)
	}
}

// useNames locks a name, and another in units, waits for both, leaves, and is handed both.
func (in *injection) useNames(t *testing.T, f failer, ns backend.Namespace, name, token, second string) {
	ctx, b := t.Context(), in.b
	is := require.New(f)
	names := []string{name, "shared"}
	ask := func(token string) backend.LockRequest {
		return backend.LockRequest{Namespace: ns, Token: token, TTL: time.Hour, Items: []backend.LockItem{
			{Name: name}, {Name: "shared", Units: 2, Limit: 3},
		}}
	}
	if backend.ValidateOwner(token) != nil || name == "shared" {
		return
	}
	got, err := b.Lock(ctx, ask(token))
	is.NoError(err)
	is.Len(got.Grants, 2)
	is.Equal(name, got.Grants[0].Member)
	entered, err := b.Enter(ctx, backend.EnterRequest{Lock: ask(second), Priority: -2, ClaimTTL: time.Hour})
	is.NoError(err)
	is.NotNil(entered.Handover)
	third := "third"
	_, err = b.Enter(ctx, backend.EnterRequest{Lock: ask(third), Priority: -2})
	is.NoError(err)
	for _, n := range names {
		queue, err := b.Queue(ctx, backend.QueueRequest{Namespace: ns, Name: n, Token: second, Limit: 10})
		is.NoError(err)
		is.Equal(1, queue.Position)
		is.Len(queue.Waiters, 2)
		is.Equal(second, queue.Waiters[0].Token)
	}
	left, err := b.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: third, Names: names})
	is.NoError(err)
	is.Equal(backend.LeaveReply{Waiting: true}, left)
	states, err := b.Holders(ctx, backend.HoldersRequest{Namespace: ns, Names: names})
	is.NoError(err)
	is.Equal(token, states[0].Owner)
	is.Equal(token, states[1].Holders[0].Token)

	back := func(token string) []backend.Held {
		return []backend.Held{{Member: name, Token: token}, {Member: "shared", Token: token}}
	}
	unlocked, err := b.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: back(token)})
	is.NoError(err)
	is.Equal([]bool{true, true}, unlocked.Unlocked)
	select {
	case h := <-entered.Handover:
		is.NoError(h.Err)
		is.Len(h.Grants, 2)
		is.Equal(name, h.Grants[0].Member)
		is.Equal(second, h.Grants[1].Token)
	case <-time.After(patience):
		is.FailNow("no hand-over")
	}
	renewed, err := b.RenewLocks(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
		{Member: name, Token: second, TTL: time.Hour}, {Member: "shared", Token: second, TTL: time.Hour},
	}})
	is.NoError(err)
	is.Equal([]bool{true, true}, renewed.Renewed)
	unlocked, err = b.Unlock(ctx, backend.UnlockRequest{Namespace: ns, Items: back(second)})
	is.NoError(err)
	is.Equal([]bool{true, true}, unlocked.Unlocked)
	is.NoError(b.SetLimit(ctx, backend.LimitRequest{Namespace: ns, Name: "shared"}))
}

// looks checks how a pool sees its member.
func (in *injection) looks(t *testing.T, f failer, ns backend.Namespace, member, owner string) {
	f.Helper()
	is := require.New(f)
	whole, err := in.b.Inspect(t.Context(), backend.InspectRequest{Namespace: ns})
	is.NoError(err)
	is.Empty(backend.CheckPool(whole, true))
	only, err := in.b.Inspect(t.Context(), backend.InspectRequest{Namespace: ns, Only: []string{member}})
	is.NoError(err)
	is.Len(only.Members, 1)
	is.Equal(member, only.Members[0].Name)
	is.Equal(owner, only.Members[0].Owner)
	is.True(slices.ContainsFunc(whole.Members, func(m backend.MemberState) bool { return m.Name == member && m.Owner == owner }))
}

// stays checks that every key belongs to one of the namespaces.
func (in *injection) stays(t *testing.T, spaces ...backend.Namespace) {
	t.Helper()
	for _, key := range in.keys(t) {
		assert.True(t, slices.ContainsFunc(spaces, func(ns backend.Namespace) bool {
			rest, ok := strings.CutPrefix(key, ns.Base())
			return ok && rest != "" && strings.ContainsRune(":|-", rune(rest[0]))
		}), "%q", key)
	}
}

// TestNastyNames: whatever a name is made of, it comes back byte for byte, is never a part of a script, and never leads
// out of its namespace.
func TestNastyNames(t *testing.T) {
	t.Parallel()
	in := newInjection(t)
	plain := backend.Namespace{Prefix: "inject", Suffix: "pool"}

	for i, name := range nasty {
		if backend.ValidateName(name) != nil {
			continue
		}
		member := name
		if backend.ValidateMember(member) != nil {
			member = "member"
		}
		other := nasty[(i+7)%len(nasty)]
		if backend.ValidateMember(other) != nil {
			other = "other"
		}
		t.Run(fmt.Sprintf("%d %.12q", i, name), func(t *testing.T) { in.use(t, t, plain, member, other, name, name) })
	}
	in.knowsOurs(t)
	in.stays(t, plain)
}

// TestNastyNamespaces: the same holds for the names of namespaces.
func TestNastyNamespaces(t *testing.T) {
	t.Parallel()
	in := newInjection(t)
	var spaces []backend.Namespace
	for i, name := range nasty {
		for _, ns := range []backend.Namespace{{Prefix: name, Suffix: "pool"}, {Prefix: "inject", Suffix: name}, {Prefix: name, Suffix: name, HashTag: true}} {
			if ns.Validate() != nil {
				continue
			}
			spaces = append(spaces, ns)
			in.use(t, t, ns, "m", nasty[0], "t", fmt.Sprint(i))
		}
	}
	in.knowsOurs(t)
	in.stays(t, spaces...)
}

// TestDrawnNames: and for what nobody thought of.
func TestDrawnNames(t *testing.T) {
	t.Parallel()
	in := newInjection(t)
	ns := backend.Namespace{Prefix: "inject", Suffix: "drawn"}
	rapid.Check(t, func(rt *rapid.T) {
		in.use(t, rt, ns, drawnMember().Draw(rt, "member"), drawnMember().Draw(rt, "other"),
			drawnName().Draw(rt, "token"), drawnName().Draw(rt, "binding"))
	})
	in.knowsOurs(t)
	in.stays(t, ns)
}

// TestAssignOverImpossibleNames: what stands in a pool under names that no member can have goes, whatever its links say.
func TestAssignOverImpossibleNames(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"||||-1", "m00000||m00001||-1", "#ALLOCATED||#ALLOCATED||-1", "||m00000||-1", ""} {
		for _, head := range []string{"m00000", "", "|x", "nobody"} {
			r := newRoom(t, redistest.URL(t))
			b := r.process(r.url)
			r.extend(b, members(3)...)
			for _, name := range []string{"", "|x", "a||b", backend.Allocated} {
				r.do("HSET", r.ns.Pool(), name, value)
			}
			r.do("SET", r.ns.PoolHead(), head)
			_, err := b.Assign(t.Context(), backend.ExtendRequest{Namespace: r.ns, Members: []string{"m00001", "new"}, TTL: backend.NoExpiry})
			require.NoError(t, err, "%q %q", value, head)
			seen, err := b.Inspect(t.Context(), backend.InspectRequest{Namespace: r.ns})
			require.NoError(t, err)
			require.Empty(t, backend.CheckPool(seen, true), "%q %q", value, head)
			require.Equal(t, 2, seen.Total, "%q %q", value, head)
		}
	}
}

package rueidis

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/backendtest"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// user makes a user on the shared server who may do what the rules say, and gives his URL.
func (r *room) user(rules ...string) string {
	r.Helper()
	name := redistest.Prefix(r)
	require.NoError(r, r.do(append([]string{"ACL", "SETUSER", name, "reset", "on", ">secret"}, rules...)...).Error())
	r.Cleanup(func() { r.do("ACL", "DELUSER", name) })
	u, err := url.Parse(r.url)
	require.NoError(r, err)
	u.User = url.UserPassword(name, "secret")
	return u.String()
}

// TestACL shows that the rules that ACLRules gives are enough for everything.
func TestACL(t *testing.T) {
	t.Parallel()
	shared := redistest.URL(t)
	t.Run("methods", func(t *testing.T) {
		r := newRoom(t, shared)
		other := r.ns
		other.Suffix = "lock"
		b := r.process(r.user(append(ACLRules(r.ns, other), "+scan")...))
		r.furnish(b)
		for _, m := range methods() {
			require.NoError(t, m.do(t.Context(), b, r.ns), m.name)
		}
	})
	t.Run("contract", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, redistest.Start(t).URL())
		limited := r.user(append(ACLRules(), "+scan", "~backendtest-*", "~{backendtest-*", "&backendtest-*|*",
			"&{backendtest-*|*")...)
		backendtest.Run(t, func(t *testing.T) backend.Backend {
			b, err := Open(t.Context(), limited, CallTimeout(patience))
			require.NoError(t, err)
			return b
		})
	})
	t.Run("odd names", func(t *testing.T) {
		r := newRoom(t, shared)
		r.ns.Prefix, r.ns.HashTag = r.ns.Prefix+`*[a-z]?\`, true
		other := r.ns
		other.Suffix = "lock"
		b := r.process(r.user(append(ACLRules(r.ns, other), "+scan")...))
		r.furnish(b)
		for _, m := range methods() {
			require.NoError(t, m.do(t.Context(), b, r.ns), m.name)
		}
		elsewhere := r.ns
		elsewhere.Prefix = strings.Replace(r.ns.Prefix, "*", "x", 1)
		_, err := b.Collect(t.Context(), backend.CollectRequest{Namespace: elsewhere, Count: 1})
		require.ErrorIs(t, err, backend.ErrPermission)
	})
}

// TestACLWithoutCommand takes away one command after the other: Open says which is missing.
func TestACLWithoutCommand(t *testing.T) {
	r := newRoom(t, redistest.URL(t))
	everywhere := append(ACLRules(), "~*", "&*")
	for _, command := range commands {
		b, err := Open(t.Context(), r.user(append(everywhere, "-"+command)...))
		if !assert.ErrorIs(t, err, backend.ErrPermission, command) {
			if b != nil {
				_ = b.Close()
			}
			continue
		}
		assert.Contains(t, err.Error(), "grant +"+command)
	}
	_, err := Open(t.Context(), r.user(append(ACLRules(r.ns), "-hget", "-zadd", "-publish")...))
	require.ErrorIs(t, err, backend.ErrPermission)
	require.ErrorContains(t, err, "HGET, ZADD, PUBLISH; grant +hget +zadd +publish")

	b, err := Open(t.Context(), r.user(append(ACLRules(r.ns), "-ping")...))
	require.NoError(t, err, "PING is not needed")
	require.NoError(t, b.Close())

	leftOver, err := r.do("KEYS", "*|probe|*").AsStrSlice()
	require.NoError(t, err)
	require.Empty(t, leftOver)
}

// TestACLWithoutKeys shows what a user gets who may not touch the keys: the rules, and nothing has changed.
func TestACLWithoutKeys(t *testing.T) {
	t.Parallel()
	shared := redistest.URL(t)
	r := newRoom(t, shared)
	admin := r.process(shared)
	for what, some := range map[string][]string{
		"no keys":     {"&*"},
		"other keys":  {"~other|*", "&*"},
		"no bindings": {"~" + r.ns.Base() + "|*", "~" + r.ns.Base() + ":*", "~" + r.ns.Prefix + "|lock*", "&*"},
		"no channels": {"~*", "resetchannels"},
	} {
		t.Run(what, func(t *testing.T) {
			b := r.process(r.user(append(ACLRules(), append(some, "+scan")...)...))
			failed := map[string]bool{}
			for _, m := range methods() {
				r.ns.Prefix = redistest.Prefix(t)
				if what == "no bindings" {
					r.ns.Prefix = strings.SplitN(strings.TrimPrefix(some[0], "~"), "|", 2)[0]
					r.do("DEL", r.ns.Binding("name"))
					_, err := admin.Assign(t.Context(), backend.ExtendRequest{Namespace: r.ns, TTL: backend.NoExpiry})
					require.NoError(t, err)
				}
				r.furnish(admin)
				before := r.dump()
				err := m.do(t.Context(), b, r.ns)
				if err == nil {
					continue
				}
				failed[m.name] = true
				require.ErrorIs(t, err, backend.ErrPermission, m.name)
				require.Equal(t, before, r.dump(), m.name)
				ns := r.ns
				if slices.Contains(ofLocks, m.name) {
					ns.Suffix = "lock"
				}
				require.ErrorContains(t, err, rules(ns), m.name)
			}
			switch what {
			case "no bindings":
				require.Equal(t, map[string]bool{"Take bound": true, "Get bindings": true}, failed)
			case "no channels":
				require.Equal(t, map[string]bool{"Enter and Leave": true, "Enter for names and Leave": true}, failed)
			default:
				require.Len(t, failed, len(methods()))
			}
		})
	}
}

// TestACLWithoutChannels: who may not send messages can give back all the same; those who wait find out by themselves.
func TestACLWithoutChannels(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	r.room.extend(b, "m")
	url := r.user(append(ACLRules(), "~*", "resetchannels")...)
	for _, roundabout := range []bool{false, true} {
		mute := r.process(url, func(o *options) { o.roundabout = roundabout })
		members, names := r.take(b, "holder", 1, time.Hour), r.lock(b, r.asks("holder", item("n")))
		forMember, forName := r.waitFor(b, "waiter"), r.waitsFor(b, "waiter", item("n"))

		returned, err := mute.Return(t.Context(), backend.ReturnRequest{
			Namespace: r.ns, Items: []backend.Held{{Member: "m", Token: members[0].Token}},
		})
		require.NoError(t, err)
		assert.Equal(t, []bool{true}, returned.Returned)
		unlocked, err := mute.Unlock(t.Context(), backend.UnlockRequest{
			Namespace: r.ns, Items: []backend.Held{{Member: "n", Token: names[0].Token}},
		})
		require.NoError(t, err)
		assert.Equal(t, []bool{true}, unlocked.Unlocked)

		h, _ := r.granted(forMember)
		r.giveBack(b, h.Grants...)
		r.passes(b, forName)
	}
}

// TestCommands holds the list of commands against the scripts.
func TestCommands(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../internal/luascript/*.lua")
	require.NoError(t, err)
	called := map[string]bool{"smismember": true, "sscan": true, "srem": true, "eval": true, "evalsha": true} // by the client itself
	literal := regexp.MustCompile(`(?:call|try|batch)\('([A-Z]+)'`)
	for _, file := range files {
		if filepath.Base(file) == "probe.lua" {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
			called[strings.ToLower(m[1])] = true
		}
	}
	delete(called, "scan") // for administrators
	var got []string
	for name := range called {
		got = append(got, name)
	}
	require.ElementsMatch(t, commands, got)
}

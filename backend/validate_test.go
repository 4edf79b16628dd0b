package backend_test

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

var ns = backend.Namespace{Prefix: "p", Suffix: "s"}

type request interface{ Validate() error }

func TestRequestsAcceptWhatTheContractAllows(t *testing.T) {
	for name, r := range map[string]request{
		"get":           &backend.GetRequest{Namespace: ns, Names: []string{"a"}},
		"set":           &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: backend.NoExpiry}}},
		"set numeric":   &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: 1e9, Cond: backend.IfLess, Operand: "-1.5e3"}}},
		"delete":        &backend.DeleteRequest{Namespace: ns, Kind: backend.KindBinding, Items: []backend.DeleteItem{{Name: "a"}}},
		"scan":          &backend.ScanRequest{Namespace: ns},
		"edit":          &backend.SetEdit{Namespace: ns},
		"members":       &backend.MembersRequest{Namespace: ns, Among: []string{"a"}},
		"extend":        &backend.ExtendRequest{Namespace: ns, Members: make100("m"), TTL: backend.NoExpiry},
		"extend none":   &backend.ExtendRequest{Namespace: ns, TTL: time.Second},
		"shrink":        &backend.ShrinkRequest{Namespace: ns},
		"take":          &backend.TakeRequest{Namespace: ns, Token: "t", TTL: time.Millisecond},
		"take shared":   &backend.TakeRequest{Namespace: ns, Token: "t", Shared: true},
		"take bound":    &backend.TakeRequest{Namespace: ns, Token: "t", TTL: 1e9, Binding: "b", BindingTTL: backend.NoExpiry, Count: 1},
		"take only":     &backend.TakeRequest{Namespace: ns, Token: backend.QuarantineToken("t"), TTL: 1e9, Prefer: []string{"a"}, Only: true},
		"return":        &backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: "a", Token: "t"}}},
		"return forced": &backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: "a"}}, Force: true, MemberTTL: backend.NoExpiry},
		"renew":         &backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: 1e9, NewToken: "u"}}},
		"collect":       &backend.CollectRequest{Namespace: ns, Count: 1},
		"inspect":       &backend.InspectRequest{Namespace: ns},
		"enter":         &backend.EnterRequest{Take: backend.TakeRequest{Namespace: ns, Token: "t", TTL: 1e9}, Priority: -backend.MaxPriority},
		"leave":         &backend.LeaveRequest{Namespace: ns, Token: "t"},
		"queue":         &backend.QueueRequest{Namespace: ns},
	} {
		assert.NoError(t, r.Validate(), name)
	}
}

func TestRequestsRefuseWhatTheContractDoesNot(t *testing.T) {
	take := backend.TakeRequest{Namespace: ns, Token: "t", TTL: time.Second}
	with := func(f func(*backend.TakeRequest)) *backend.TakeRequest {
		r := take
		f(&r)
		return &r
	}
	tooMany := make([]string, backend.BatchLimit+1)
	for i := range tooMany {
		tooMany[i] = "m"
	}
	for name, r := range map[string]request{
		"no namespace":      &backend.GetRequest{Names: []string{"a"}},
		"no names":          &backend.GetRequest{Namespace: ns},
		"too many names":    &backend.GetRequest{Namespace: ns, Names: tooMany},
		"unknown kind":      &backend.GetRequest{Namespace: ns, Kind: 99, Names: []string{"a"}},
		"set without ttl":   &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a"}}},
		"set below a ms":    &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: time.Microsecond}}},
		"set negative":      &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: -time.Second}}},
		"set hexadecimal":   &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: 1e9, Cond: backend.IfLess, Operand: "0x10"}}},
		"set infinite":      &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: 1e9, Cond: backend.IfLess, Operand: "1e999"}}},
		"set long value":    &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: 1e9, Value: strings.Repeat("x", backend.MaxNameLen+1)}}},
		"set long operand":  &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: 1e9, Cond: backend.IfEqual, Operand: strings.Repeat("x", backend.MaxNameLen+1)}}},
		"set unknown":       &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", TTL: 1e9, Cond: 99}}},
		"delete numeric":    &backend.DeleteRequest{Namespace: ns, Items: []backend.DeleteItem{{Name: "a", Cond: backend.IfNumEqual, Operand: "x"}}},
		"delete no name":    &backend.DeleteRequest{Namespace: ns, Items: []backend.DeleteItem{{}}},
		"delete nothing":    &backend.DeleteRequest{Namespace: ns},
		"scan limit":        &backend.ScanRequest{Namespace: ns, Limit: -1},
		"edit empty name":   &backend.SetEdit{Namespace: ns, Names: []string{"a", ""}},
		"extend one bad":    &backend.ExtendRequest{Namespace: ns, TTL: 1e9, Members: append(make100("m"), "a||b")},
		"extend no ttl":     &backend.ExtendRequest{Namespace: ns, Members: []string{"a"}},
		"shrink bad":        &backend.ShrinkRequest{Namespace: ns, Members: []string{backend.Allocated}},
		"take no token":     with(func(r *backend.TakeRequest) { r.Token = "" }),
		"take no ttl":       with(func(r *backend.TakeRequest) { r.TTL = 0 }),
		"take too many":     with(func(r *backend.TakeRequest) { r.Count = backend.MaxTake + 1 }),
		"take negative":     with(func(r *backend.TakeRequest) { r.Count = -1 }),
		"take only nothing": with(func(r *backend.TakeRequest) { r.Only = true }),
		"take only bound": with(func(r *backend.TakeRequest) {
			r.Only, r.Prefer, r.Binding, r.BindingTTL = true, []string{"a"}, "b", 1e9
		}),
		"take two bound":    with(func(r *backend.TakeRequest) { r.Count, r.Binding, r.BindingTTL = 2, "b", 1e9 }),
		"take bound no ttl": with(func(r *backend.TakeRequest) { r.Binding = "b" }),
		"take bad prefer":   with(func(r *backend.TakeRequest) { r.Prefer = []string{"||"} }),
		"take collect":      with(func(r *backend.TakeRequest) { r.Collect = -1 }),
		"return bad member": &backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: "||", Token: "t"}}},
		"return nothing":    &backend.ReturnRequest{Namespace: ns},
		"return no token":   &backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: "a"}}},
		"return force ttl":  &backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: "a"}}, Force: true},
		"renew no ttl":      &backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t"}}},
		"renew bad token":   &backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{{Member: "a", Token: "t", TTL: 1e9, NewToken: "\x00"}}},
		"collect none":      &backend.CollectRequest{Namespace: ns},
		"inspect limit":     &backend.InspectRequest{Namespace: ns, Limit: backend.BatchLimit + 1},
		"enter only":        &backend.EnterRequest{Take: *with(func(r *backend.TakeRequest) { r.Only, r.Prefer = true, []string{"a"} })},
		"enter priority":    &backend.EnterRequest{Take: take, Priority: backend.MaxPriority + 1},
		"enter claim":       &backend.EnterRequest{Take: take, ClaimTTL: backend.NoExpiry},
		"leave no token":    &backend.LeaveRequest{Namespace: ns},
		"queue token":       &backend.QueueRequest{Namespace: ns, Token: "\x00"},
		"queue limit":       &backend.QueueRequest{Namespace: ns, Limit: -1},
	} {
		assert.ErrorIs(t, r.Validate(), backend.ErrInvalid, name)
	}
}

func make100(name string) []string {
	all := make([]string, 100)
	for i := range all {
		all[i] = name
	}
	return all
}

func TestNumericConditionsCompareWithTolerance(t *testing.T) {
	for _, c := range []struct {
		cond            backend.Condition
		operand, stored float64
		want            bool
	}{
		{backend.IfGreater, 2, 1, true},
		{backend.IfGreater, 1, 1, false},
		{backend.IfGreater, 1, 2, false},
		{backend.IfGreaterOrEqual, 1, 1 + 5e-7, true},
		{backend.IfGreaterOrEqual, 1, 1.01, false},
		{backend.IfLess, 1, 2, true},
		{backend.IfLess, 2, 2, false},
		{backend.IfLessOrEqual, 1 + 5e-7, 1, true},
		{backend.IfLessOrEqual, 1.01, 1, false},
		{backend.IfNumEqual, 1 + 5e-7, 1, true},
		{backend.IfNumEqual, 1.01, 1, false},
		{backend.IfNumNotEqual, 1 + 5e-7, 1, false},
		{backend.IfNumNotEqual, 1.01, 1, true},
		{backend.IfEqual, 1, 1, false},
	} {
		assert.Equal(t, c.want, c.cond.Holds(c.operand, c.stored), "%v %v %v", c.cond, c.operand, c.stored)
	}
}

// FuzzParseNumber: what is taken for a number is one, and finite.
func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"1", "-1.5", "1e9", "0x1p-2", "inf", "nan", " 1", "1_000", "1e999", "+", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := backend.ParseNumber(s)
		if ok && (math.IsNaN(n) || math.IsInf(n, 0)) {
			t.Fatalf("%q is %v", s, n)
		}
	})
}

func TestMillisRoundsUp(t *testing.T) {
	require.Equal(t, int64(-1), backend.Millis(backend.NoExpiry))
	require.Equal(t, int64(1), backend.Millis(time.Microsecond))
	require.Equal(t, int64(1), backend.Millis(time.Millisecond))
	require.Equal(t, int64(2), backend.Millis(time.Millisecond+1))
}

func TestTokensDiffer(t *testing.T) {
	var all [4][1000]string
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			for j := range all[i] {
				all[i][j] = backend.NewToken()
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for i := range all {
		for _, token := range all[i] {
			require.NoError(t, backend.ValidateToken(token))
			require.True(t, strings.HasPrefix(token, backend.ProcessID()+"/"))
			require.False(t, seen[token])
			seen[token] = true
		}
	}
	require.True(t, backend.IsQuarantine(backend.QuarantineToken(backend.NewToken())))
	require.False(t, backend.IsQuarantine(backend.NewToken()))
}

func TestEventKindsHaveNames(t *testing.T) {
	seen := map[string]bool{"unknown": true}
	for k := backend.EventGranted; k <= backend.EventFailed; k++ {
		assert.False(t, seen[k.String()], "%d is %s", k, k)
		seen[k.String()] = true
	}
	assert.Equal(t, "unknown", (backend.EventFailed + 1).String())
	assert.Equal(t, "unknown", backend.EventKind(0).String())
	assert.Equal(t, "unknown", backend.EventKind(200).String())
	var got backend.Event
	backend.ObserverFunc(func(e backend.Event) { got = e }).Observe(backend.Event{Member: "a"})
	assert.Equal(t, "a", got.Member)
}

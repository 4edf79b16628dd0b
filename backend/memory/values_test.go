package memory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func (r rig) set(each bool, items ...backend.SetItem) ([]bool, error) {
	r.t.Helper()
	for i := range items {
		if items[i].TTL == 0 {
			items[i].TTL = time.Minute
		}
	}
	reply, err := r.Set(r.t.Context(), backend.SetRequest{Namespace: ns, Items: items, Each: each})
	return reply.Set, err
}

func (r rig) remove(each bool, items ...backend.DeleteItem) ([]bool, error) {
	r.t.Helper()
	reply, err := r.Delete(r.t.Context(), backend.DeleteRequest{Namespace: ns, Items: items, Each: each})
	return reply.Deleted, err
}

func TestConditionsDecideWhatIsWritten(t *testing.T) {
	const stored = "5"
	for _, tc := range []struct {
		cond           backend.Condition
		operand        string
		present, never bool // whether it holds for the stored value, and for none
	}{
		{backend.Always, "", true, true},
		{backend.IfAbsent, "", false, true},
		{backend.IfEqual, "5", true, false},
		{backend.IfEqual, "5.0", false, false},
		{backend.IfAbsentOrEqual, "5", true, true},
		{backend.IfAbsentOrEqual, "6", false, true},
		{backend.IfGreater, "6", true, true},
		{backend.IfGreater, "5", false, true},
		{backend.IfGreaterOrEqual, "4.9999999", true, true},
		{backend.IfGreaterOrEqual, "4", false, true},
		{backend.IfLess, "4", true, true},
		{backend.IfLess, "5", false, true},
		{backend.IfLessOrEqual, "5.0000001", true, true},
		{backend.IfLessOrEqual, "6", false, true},
		{backend.IfNumEqual, "5.0000001", true, true},
		{backend.IfNumEqual, "5.1", false, true},
		{backend.IfNumNotEqual, "5.1", true, true},
		{backend.IfNumNotEqual, "5e0", false, true},
	} {
		bubble(t, func(t *testing.T, r rig) {
			_, err := r.set(false, backend.SetItem{Name: "x", Value: stored})
			require.NoError(t, err)
			for _, name := range []string{"x", "missing"} {
				want := tc.present
				if name == "missing" {
					want = tc.never
				}
				set, err := r.set(false, backend.SetItem{Name: name, Value: "new", Cond: tc.cond, Operand: tc.operand})
				require.NoError(t, err)
				require.Equal(t, []bool{want}, set, "%d %q on %s", tc.cond, tc.operand, name)
				require.Equal(t, want, r.value(backend.KindLock, name).Value == "new")
			}
			_, err = r.set(false, backend.SetItem{Name: "x", Value: stored})
			require.NoError(t, err)
			gone, err := r.remove(false, backend.DeleteItem{Name: "x", Cond: tc.cond, Operand: tc.operand})
			require.NoError(t, err)
			require.Equal(t, []bool{tc.present}, gone)
			gone, err = r.remove(false, backend.DeleteItem{Name: "nothing", Cond: tc.cond, Operand: tc.operand})
			require.NoError(t, err)
			require.Equal(t, []bool{false}, gone, "there was nothing to remove")
		})
	}
}

func TestManyValuesAreWrittenAllOrNone(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		absent := func(name string) backend.SetItem {
			return backend.SetItem{Name: name, Value: "t", Cond: backend.IfAbsent}
		}
		set, err := r.set(false, absent("a"), absent("b"))
		require.NoError(t, err)
		require.Equal(t, []bool{true, true}, set)
		set, err = r.set(false, absent("c"), absent("b"), absent("d"))
		require.NoError(t, err)
		require.Equal(t, []bool{false, false, false}, set)
		require.False(t, r.value(backend.KindLock, "c").Exists)
		set, err = r.set(true, absent("c"), absent("b"), absent("d"), absent("d"))
		require.NoError(t, err)
		require.Equal(t, []bool{true, false, true, false}, set, "each for itself, one after the other")
		set, err = r.set(false, absent("e"), absent("e"))
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, set)

		equal := func(name, value string) backend.DeleteItem {
			return backend.DeleteItem{Name: name, Cond: backend.IfEqual, Operand: value}
		}
		gone, err := r.remove(false, equal("a", "t"), equal("b", "other"))
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, gone)
		require.True(t, r.value(backend.KindLock, "a").Exists)
		gone, err = r.remove(true, equal("a", "t"), equal("b", "other"), equal("a", "t"))
		require.NoError(t, err)
		require.Equal(t, []bool{true, false, false}, gone)
	})
}

func TestComparisonWithWhatIsNoNumberChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		_, err := r.set(false, backend.SetItem{Name: "text", Value: "1x"})
		require.NoError(t, err)
		for _, each := range []bool{false, true} {
			_, err = r.set(each, backend.SetItem{Name: "a", Value: "1"},
				backend.SetItem{Name: "text", Value: "2", Cond: backend.IfGreater, Operand: "1"})
			require.ErrorIs(t, err, backend.ErrNotNumber)
			require.False(t, r.value(backend.KindLock, "a").Exists)
			_, err = r.remove(each, backend.DeleteItem{Name: "text"},
				backend.DeleteItem{Name: "text", Cond: backend.IfNumEqual, Operand: "1"})
			require.ErrorIs(t, err, backend.ErrNotNumber)
			require.Equal(t, "1x", r.value(backend.KindLock, "text").Value)
		}
	})
}

func TestFencesAreDrawnForWhatIsWritten(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		_, err := r.set(false, backend.SetItem{Name: "b", Value: "1"})
		require.NoError(t, err)
		item := func(name string) backend.SetItem {
			return backend.SetItem{Name: name, Value: "2", TTL: time.Minute, Cond: backend.IfAbsent}
		}
		reply, err := r.Set(t.Context(), backend.SetRequest{
			Namespace: ns, Each: true, Fence: true, Items: []backend.SetItem{item("a"), item("b"), item("c")},
		})
		require.NoError(t, err)
		require.Zero(t, reply.Fences[1])
		require.Positive(t, reply.Fences[0])
		require.Greater(t, reply.Fences[2], reply.Fences[0])
	})
}

func TestKindsDoNotSeeEachOther(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		_, err := r.Set(t.Context(), backend.SetRequest{Namespace: ns, Kind: backend.KindBinding, Items: []backend.SetItem{
			{Name: "x", Value: "member", TTL: time.Second},
		}})
		require.NoError(t, err)
		require.False(t, r.value(backend.KindLock, "x").Exists)
		require.Equal(t, "member", r.value(backend.KindBinding, "x").Value)
		pass(time.Second)
		require.False(t, r.value(backend.KindBinding, "x").Exists)
		reply, err := r.Delete(t.Context(), backend.DeleteRequest{Namespace: ns, Kind: backend.KindBinding, Items: []backend.DeleteItem{{Name: "x"}}})
		require.NoError(t, err)
		require.False(t, reply.Deleted[0], "it had run out")
	})
}

func TestNamespacesDoNotSeeEachOther(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		other := ns
		other.HashTag = true
		reply, err := r.Take(t.Context(), backend.TakeRequest{Namespace: other, Token: "t", TTL: time.Second})
		require.NoError(t, err)
		require.Empty(t, reply.Grants)
		require.Equal(t, "a", r.take("t"))
	})
}

func TestScanListsEveryLiveNameOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		want := map[string]bool{}
		for _, name := range numbered(0, 250) {
			r.lock(name, time.Minute)
			want[name] = true
		}
		r.lock("over", time.Second)
		r.extend("member", "m1") // m1 loses its lock
		delete(want, "m1")
		pass(time.Second)
		for _, limit := range []int{0, 1, 7, 1000} {
			got, cursor := map[string]bool{}, ""
			for {
				reply, err := r.Scan(t.Context(), backend.ScanRequest{Namespace: ns, Cursor: cursor, Limit: limit})
				require.NoError(t, err)
				for _, name := range reply.Names {
					require.False(t, got[name], "twice")
					got[name] = true
				}
				if cursor = reply.Cursor; cursor == "" {
					break
				}
			}
			require.Equal(t, want, got)
		}
		reply, err := r.Scan(t.Context(), backend.ScanRequest{Namespace: ns, Kind: backend.KindBinding})
		require.NoError(t, err)
		require.Empty(t, reply)
	})
}

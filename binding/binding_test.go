package binding_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/binding"
)

var ns = backend.Namespace{Prefix: "crawler", Suffix: "proxies"}

func bindings(t *testing.T) (*binding.Bindings, *memory.Backend) {
	t.Helper()
	be := memory.New()
	t.Cleanup(func() { assert.NoError(t, be.Close()) })
	b, err := binding.New(be, ns)
	require.NoError(t, err)
	return b, be
}

func TestANameIsBoundUntilItIsUnbound(t *testing.T) {
	b, _ := bindings(t)
	ctx := t.Context()
	_, ok, err := b.Lookup(ctx, "alice")
	require.NoError(t, err)
	assert.False(t, ok)

	require.NoError(t, b.Bind(ctx, "alice", "p1", 0))
	require.NoError(t, b.Bind(ctx, "alice", "p2", 0))
	key, ok, err := b.Lookup(ctx, "alice")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "p2", key)

	existed, err := b.Unbind(ctx, "alice")
	require.NoError(t, err)
	assert.True(t, existed)
	existed, err = b.Unbind(ctx, "alice")
	require.NoError(t, err)
	assert.False(t, existed)
	_, ok, err = b.Lookup(ctx, "alice")
	require.NoError(t, err)
	assert.False(t, ok)
}

func TestABindingLastsAnHourUnlessToldOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := bindings(t)
		ctx := t.Context()
		require.NoError(t, b.Bind(ctx, "hour", "p1", 0))
		require.NoError(t, b.Bind(ctx, "minute", "p1", time.Minute))
		require.NoError(t, b.Bind(ctx, "ever", "p1", backend.NoExpiry))
		names := func() (names []string) {
			for bound, err := range b.BindingsOf(ctx, "p1") {
				require.NoError(t, err)
				names = append(names, bound.Name)
			}
			return names
		}
		assert.ElementsMatch(t, []string{"hour", "minute", "ever"}, names())
		<-time.After(time.Minute)
		assert.ElementsMatch(t, []string{"hour", "ever"}, names())
		<-time.After(time.Hour)
		assert.Equal(t, []string{"ever"}, names())
	})
}

func TestAnAllocationReadsWhatBindWrites(t *testing.T) {
	b, be := bindings(t)
	ctx := t.Context()
	members := []string{"p1", "p2", "p3"}
	_, err := be.Extend(ctx, backend.ExtendRequest{Namespace: ns, Members: members, TTL: backend.NoExpiry})
	require.NoError(t, err)
	require.NoError(t, b.Bind(ctx, "alice", "p3", 0))
	took, err := be.Take(ctx, backend.TakeRequest{
		Namespace: ns, Token: "t", TTL: time.Minute, Binding: "alice", BindingTTL: time.Hour,
	})
	require.NoError(t, err)
	require.Len(t, took.Grants, 1)
	assert.Equal(t, "p3", took.Grants[0].Member)

	took, err = be.Take(ctx, backend.TakeRequest{
		Namespace: ns, Token: "u", TTL: time.Minute, Binding: "bob", BindingTTL: time.Hour,
	})
	require.NoError(t, err)
	key, ok, err := b.Lookup(ctx, "bob")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, took.Grants[0].Member, key)
}

func TestBindingsOfWalksAllPages(t *testing.T) {
	b, _ := bindings(t)
	ctx := t.Context()
	const n = 2500
	for i := range n {
		require.NoError(t, b.Bind(ctx, fmt.Sprintf("name-%d", i), fmt.Sprintf("p%d", i%5), 0))
	}
	all, of := map[string]string{}, 0
	for bound, err := range b.All(ctx) {
		require.NoError(t, err)
		assert.NotContains(t, all, bound.Name)
		all[bound.Name] = bound.Key
		assert.InDelta(t, time.Hour, bound.TTL, float64(time.Minute))
	}
	assert.Len(t, all, n)
	for bound, err := range b.BindingsOf(ctx, "p3") {
		require.NoError(t, err)
		assert.Equal(t, "p3", bound.Key)
		of++
	}
	assert.Equal(t, n/5, of)
	for _, err := range b.All(ctx) {
		require.NoError(t, err)
		of--
		break
	}
	assert.Equal(t, n/5-1, of, "a caller may stop at any time")
}

func TestBindingsOfOneNamespaceAreNotThoseOfAnother(t *testing.T) {
	b, be := bindings(t)
	other, err := binding.New(be, backend.Namespace{Prefix: "crawler", Suffix: "others"})
	require.NoError(t, err)
	require.NoError(t, b.Bind(t.Context(), "alice", "p1", 0))
	_, ok, err := other.Lookup(t.Context(), "alice")
	require.NoError(t, err)
	assert.False(t, ok)
	for bound, err := range other.All(t.Context()) {
		assert.Fail(t, "listed", "%v %v", bound, err)
	}
}

func TestWhatIsInvalidIsRefused(t *testing.T) {
	_, err := binding.New(nil, ns)
	require.ErrorIs(t, err, backend.ErrInvalid)
	_, err = binding.New((*memory.Backend)(nil), ns)
	require.ErrorIs(t, err, backend.ErrInvalid)
	b, be := bindings(t)
	_, err = binding.New(be, backend.Namespace{})
	require.ErrorIs(t, err, backend.ErrInvalid)

	ctx := t.Context()
	long := strings.Repeat("x", 1<<20)
	for _, name := range []string{"", "a\x00b", "\xff", long} {
		err := b.Bind(ctx, name, "p1", 0)
		require.ErrorIs(t, err, backend.ErrInvalid)
		assert.Less(t, len(err.Error()), 400)
		_, err = b.Unbind(ctx, name)
		require.ErrorIs(t, err, backend.ErrInvalid)
		_, _, err = b.Lookup(ctx, name)
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
	for _, key := range []string{"", "a||b", backend.Allocated, "a\x00b", long} {
		require.ErrorIs(t, b.Bind(ctx, "alice", key, 0), backend.ErrInvalid)
		for _, err := range b.BindingsOf(ctx, key) {
			require.ErrorIs(t, err, backend.ErrInvalid)
		}
	}
	for _, ttl := range []time.Duration{-time.Second, time.Microsecond} {
		require.ErrorIs(t, b.Bind(ctx, "alice", "p1", ttl), backend.ErrInvalid)
	}
	for bound, err := range b.All(ctx) {
		assert.Fail(t, "something was bound", "%v %v", bound, err)
	}
}

// paged answers with pages of its own.
type paged struct {
	backend.Values
	pages   []backend.ScanReply
	scanErr error
	getErr  error
	got     []int
}

func (p *paged) Scan(context.Context, backend.ScanRequest) (backend.ScanReply, error) {
	if len(p.pages) == 0 {
		return backend.ScanReply{}, p.scanErr
	}
	page := p.pages[0]
	p.pages = p.pages[1:]
	return page, nil
}

func (p *paged) Get(_ context.Context, req backend.GetRequest) ([]backend.Value, error) {
	p.got = append(p.got, len(req.Names))
	values := make([]backend.Value, len(req.Names))
	for i, name := range req.Names {
		values[i] = backend.Value{Exists: name != "gone", Value: "p1", TTL: time.Minute}
	}
	return values, p.getErr
}

func TestEachBindingIsListedOnceHoweverThePagesAreCut(t *testing.T) {
	long := make([]string, 2*backend.BatchLimit+1)
	for i := range long {
		long[i] = fmt.Sprint("n", i)
	}
	be := &paged{pages: []backend.ScanReply{
		{Names: []string{"a", "b", "gone"}, Cursor: "1"},
		{Cursor: "2"},
		{Names: []string{"b", "c"}, Cursor: "3"},
		{Names: long},
	}}
	b, err := binding.New(be, ns)
	require.NoError(t, err)
	var names []string
	for bound, err := range b.All(t.Context()) {
		require.NoError(t, err)
		names = append(names, bound.Name)
	}
	assert.Equal(t, append([]string{"a", "b", "c"}, long...), names)
	assert.Equal(t, []int{3, 2, backend.BatchLimit, backend.BatchLimit, 1}, be.got)
}

func TestAListEndsWithTheFirstError(t *testing.T) {
	boom := errors.New("boom")
	for name, be := range map[string]*paged{
		"scan": {pages: []backend.ScanReply{{Names: []string{"a"}, Cursor: "1"}}, scanErr: boom},
		"get":  {pages: []backend.ScanReply{{Names: []string{"a"}}}, getErr: boom},
	} {
		b, err := binding.New(be, ns)
		require.NoError(t, err)
		var last error
		errs := 0
		for _, err := range b.All(t.Context()) {
			if last = err; err != nil {
				errs++
			}
		}
		require.ErrorIs(t, last, boom, name)
		assert.Equal(t, 1, errs)
	}
}

func TestAClosedBackendIsToldWithWhatWasAttempted(t *testing.T) {
	b, be := bindings(t)
	require.NoError(t, be.Close())
	err := b.Bind(t.Context(), "alice", "p1", 0)
	require.ErrorIs(t, err, backend.ErrClosed)
	assert.ErrorContains(t, err, `bind "alice" in crawler|proxies`)
	_, err = b.Unbind(t.Context(), "alice")
	require.ErrorIs(t, err, backend.ErrClosed)
	_, _, err = b.Lookup(t.Context(), "alice")
	require.ErrorIs(t, err, backend.ErrClosed)
}

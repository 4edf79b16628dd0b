package policy_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/policy"
)

func static(members ...string) policy.Source {
	return policy.SourceFunc(func(context.Context) ([]string, error) { return members, nil })
}

func failing(err error) policy.Source {
	return policy.SourceFunc(func(context.Context) ([]string, error) { return nil, err })
}

func panicking(v any) policy.Source {
	return policy.SourceFunc(func(context.Context) ([]string, error) { panic(v) })
}

func TestEachFetchAsksTheNextSource(t *testing.T) {
	u := policy.NewUpdater(static("a"), static("b"), static("c"))
	var got []string
	for range 7 {
		members, err := u.Fetch(t.Context())
		require.NoError(t, err)
		got = append(got, members...)
	}
	assert.Equal(t, []string{"a", "b", "c", "a", "b", "c", "a"}, got)
}

func TestTheTurnPassesOnFromASourceThatFails(t *testing.T) {
	boom := errors.New("boom")
	u := policy.NewUpdater(failing(boom), panicking("ouch"), static(), static("d"))
	_, err := u.Fetch(t.Context())
	require.ErrorIs(t, err, boom)
	_, err = u.Fetch(t.Context())
	var pe *policy.PanicError
	require.ErrorAs(t, err, &pe)
	assert.Equal(t, "ouch", pe.Value)
	assert.Contains(t, string(pe.Stack), "panicking")
	_, err = u.Fetch(t.Context())
	require.ErrorIs(t, err, policy.ErrNoMembers)
	members, err := u.Fetch(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"d"}, members)
}

func TestAPanicWithAnErrorIsThatError(t *testing.T) {
	boom := errors.New("boom")
	_, err := policy.NewUpdater(panicking(boom)).Fetch(t.Context())
	require.ErrorIs(t, err, boom)
}

func TestMembersAreShuffledUnlessTheirOrderIsKept(t *testing.T) {
	list := make([]string, 1000)
	for i := range list {
		list[i] = strconv.Itoa(i)
	}
	before := slices.Clone(list)

	shuffled, err := policy.NewUpdater(static(list...)).Fetch(t.Context())
	require.NoError(t, err)
	assert.ElementsMatch(t, list, shuffled)
	assert.NotEqual(t, list, shuffled)
	assert.Equal(t, before, list, "the source's own slice must stay as it is")

	kept, err := (&policy.Updater{Sources: []policy.Source{static(list...)}, KeepOrder: true}).Fetch(t.Context())
	require.NoError(t, err)
	assert.Equal(t, list, kept)
}

func TestWhatASourceSaysAfterItsContextEndedDoesNotCount(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	u := policy.NewUpdater(policy.SourceFunc(func(context.Context) ([]string, error) {
		cancel()
		return []string{"half of it"}, nil
	}))
	_, err := u.Fetch(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAnUpdaterWithoutSourcesIsInvalid(t *testing.T) {
	var none *policy.Updater
	for _, u := range []*policy.Updater{none, {}, policy.NewUpdater(nil)} {
		_, err := u.Fetch(t.Context())
		require.ErrorIs(t, err, backend.ErrInvalid)
		_, err = u.FetchAll(t.Context())
		require.ErrorIs(t, err, backend.ErrInvalid)
		_, err = policy.RefreshAll(t.Context(), newFake("x"), u, 0)
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
}

func TestRefreshAllReplacesTheContentByWhatAllSourcesName(t *testing.T) {
	p := newFake("old")
	u := &policy.Updater{Sources: []policy.Source{static("a", "b"), static("b", "c")}, KeepOrder: true}
	n, err := policy.RefreshAll(t.Context(), p, u, 0)
	require.NoError(t, err)
	assert.Equal(t, 3, n)
	assert.Equal(t, []string{"a", "b", "c"}, p.content())
	assert.Equal(t, []string{"assign"}, p.edits)
	assert.Equal(t, []time.Duration{backend.NoExpiry}, p.ttls)
	assert.Equal(t, 1, p.count(backend.EventRefreshed))
}

func TestRefreshAllSetsTheExpiryOfMembersThatStay(t *testing.T) {
	p := newFake("a")
	_, err := policy.RefreshAll(t.Context(), p, policy.NewUpdater(static("a", "b")), time.Minute)
	require.NoError(t, err)
	assert.Equal(t, []string{"extend", "assign"}, p.edits)
	assert.Equal(t, []time.Duration{time.Minute, time.Minute}, p.ttls)
}

func TestRefreshAllLeavesThePoolAsItIsIfOneSourceFails(t *testing.T) {
	boom, bang := errors.New("boom"), errors.New("bang")
	for name, u := range map[string]*policy.Updater{
		"error": policy.NewUpdater(static("a"), failing(boom), failing(bang)),
		"panic": policy.NewUpdater(static("a"), panicking(errors.Join(boom, bang))),
	} {
		p := newFake("old")
		n, err := policy.RefreshAll(t.Context(), p, u, 0)
		require.ErrorIs(t, err, boom, name)
		require.ErrorIs(t, err, bang, name)
		assert.Zero(t, n)
		assert.Empty(t, p.edits)
		assert.Equal(t, 1, p.count(backend.EventRefreshFailed))
	}
	p := newFake("old")
	_, err := policy.RefreshAll(t.Context(), p, policy.NewUpdater(static("a"), static()), 0)
	require.ErrorIs(t, err, policy.ErrNoMembers)
	p.fail = func(op string) error { return map[string]error{"assign": boom}[op] }
	_, err = policy.RefreshAll(t.Context(), p, policy.NewUpdater(static("a")), 0)
	require.ErrorIs(t, err, boom)
	assert.Equal(t, 2, p.count(backend.EventRefreshFailed))
}

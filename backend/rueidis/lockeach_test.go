package rueidis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// eachBatch is what four callers want: two to wait for a name, one to take it back from its holder, one to keep another.
func eachBatch(r *lockRoom, held []backend.Grant) []*part {
	enters := func(token, name string) *part {
		return &part{lock: &lockOp{req: r.asks(token, item(name)), wait: true, claim: time.Minute}, done: make(chan struct{}, 1)}
	}
	return []*part{
		enters("next", "n"),
		{renewals: []backend.Renewal{{Member: "m", Token: held[1].Token, TTL: time.Hour}}, done: make(chan struct{}, 1)},
		enters("last", "n"),
		{returns: []backend.Held{{Member: "n", Token: held[0].Token}}, done: make(chan struct{}, 1)},
	}
}

// TestPartsInCallsOfTheirOwn: a batch of those who are ready to wait, with and without the script in the server.
func TestPartsInCallsOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		s := redistest.Start(t)
		r := newLockRoom(t, s.URL())
		b := r.process(s.URL())
		sp, err := b.space(r.ns)
		require.NoError(t, err)
		held := r.lock(b, r.asks("first", item("n"), item("m")))
		if !known {
			require.NoError(t, r.do("SCRIPT", "FLUSH").Error())
		}

		batch := eachBatch(r, held)
		require.True(t, sp.each(batch))
		require.NoError(t, sp.lockExchange(nil, batch))
		for _, p := range batch {
			require.NoError(t, p.err)
		}
		assert.Equal(t, []bool{true}, batch[3].bits, "was the first to be carried out")
		assert.Equal(t, []bool{true}, batch[1].bits)
		require.Len(t, batch[0].lock.grants, 1, "so that the name was free")
		assert.Equal(t, "next", batch[0].lock.grants[0].Token)
		assert.Empty(t, batch[2].lock.grants)
		assert.True(t, batch[2].lock.waiting)
		assert.True(t, batch[2].lock.first)
	}
}

// TestFaultOfOnePart: a key of the wrong type is the fault of him alone who wants that name.
func TestFaultOfOnePart(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	held := r.lock(b, r.asks("first", item("n"), item("m")))
	require.NoError(t, r.do("RPUSH", r.ns.LockLine("odd"), "x").Error())
	require.NoError(t, r.do("SET", r.ns.Lock("odd"), "mine").Error())

	batch := eachBatch(r, held)
	batch[0].lock.req.Items = []backend.LockItem{item("odd")}
	sp.lockComb.exchange(nil, batch)
	require.ErrorIs(t, b.classify(batch[0].err), backend.ErrWrongType)
	assert.False(t, batch[0].lock.waiting)
	for _, p := range batch[1:] {
		require.NoError(t, p.err)
	}
	assert.Len(t, batch[2].lock.grants, 1)
}

// TestWhatGoesInOneCall: many parts, and those of whom nobody waits.
func TestWhatGoesInOneCall(t *testing.T) {
	t.Parallel()
	r := newLockRoom(t, redistest.URL(t))
	b := r.process(r.url)
	sp, err := b.space(r.ns)
	require.NoError(t, err)
	enter := &part{lock: &lockOp{wait: true}}
	unlock := &part{returns: make([]backend.Held, 1)}
	lock := &part{lock: &lockOp{}}
	assert.True(t, sp.each([]*part{unlock, enter}))
	assert.False(t, sp.each([]*part{enter}))
	assert.False(t, sp.each([]*part{unlock, lock}))
	many := []*part{enter}
	for len(many) <= maxEach {
		many = append(many, unlock)
	}
	assert.False(t, sp.each(many))
	b.opts.roundabout = true
	assert.False(t, sp.each([]*part{unlock, enter}))
}

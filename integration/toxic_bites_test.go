package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// TestToxicCutsAtTheByte: what is to arrive before a cut arrives, nothing else does, and then the connection is reset.
func TestToxicCutsAtTheByte(t *testing.T) {
	t.Parallel()
	s := newToxicStage(t)
	const mark = "0123456789"
	request, reply := "ECHO "+mark+"\r\n", "$10\r\n"+mark+"\r\n"
	for k := range len(reply) + 1 {
		got, err := s.exchange(newToxicOrder(toxicReply, mark, k), request)
		require.ErrorIs(t, err, syscall.ECONNRESET, "cut at %d", k)
		require.Equal(t, reply[:k], got)
		got, err = s.exchange(newToxicOrder(toxicMessage, mark, k), request)
		require.ErrorIs(t, err, syscall.ECONNRESET, "cut at %d", k)
		require.Equal(t, reply[:k], got)
	}
	key := s.ns.Base() + ":" + mark
	request = "SET " + key + " 1\r\n"
	for k := range request { // a whole one may be carried out, and be answered, or not
		got, err := s.exchange(newToxicOrder(toxicRequest, mark, k), request)
		require.ErrorIs(t, err, syscall.ECONNRESET, "cut at %d", k)
		require.Empty(t, got)
		require.Zero(t, s.cli.int(t, "EXISTS", key), "cut at %d", k)
	}
}

// exchange sends a request through the front, under an order, and gives what comes until the connection ends.
func (s *toxicStage) exchange(order *toxicOrder, request string) (string, error) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.front.listener.Addr().String())
	require.NoError(s.t, err)
	defer conn.Close()
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(patience)))
	s.front.cuts.set(order)
	_, err = io.WriteString(conn, request)
	require.NoError(s.t, err)
	got, err := io.ReadAll(conn)
	return string(got), err
}

// TestToxicFindsWhatIsLeft: what a client leaves behind that does not see to lost answers is found.
func TestToxicFindsWhatIsLeft(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("lock", func(t *testing.T) {
		t.Parallel()
		s := newToxicStage(t)
		s.enter("lock", false)
		require.Empty(t, s.leftovers())
		order := newToxicOrder(toxicReply, "careless", 3)
		got, err := s.exchange(order, fmt.Sprintf("SET %s careless NX PX %d\r\n", s.ns.Lock("m"), toxicTTL.Milliseconds()))
		require.Error(t, err)
		require.Equal(t, "+OK", got)
		assert.Equal(t, []string{s.ns.Lock("m")}, s.leftovers())
		s.cli.must(t, "DEL", s.ns.Lock("m"))
	})
	t.Run("pool", func(t *testing.T) {
		t.Parallel()
		s := newToxicStage(t)
		s.enter("pool", false)
		require.Empty(t, s.leftovers())
		_, err := newPool(t, careless{s.far}, pool.Config[pool.None]{Namespace: s.ns, TTL: toxicTTL}).MallocKey(ctx)
		require.ErrorIs(t, err, backend.ErrUnavailable)
		assert.Len(t, s.leftovers(), 1)
		require.NoError(t, s.others.Shrink(ctx, members(1)))
		assert.Contains(t, fmt.Sprint(s.leftovers()), `the members are ["m00001"`)
	})
	t.Run("wait", func(t *testing.T) {
		t.Parallel()
		s := newToxicStage(t)
		s.enter("pool", false)
		held := s.takeAll()
		ctx, cancel := context.WithCancel(ctx)
		done := mustWait(s, func(waiting context.Context, _ int) (*Lease, error) {
			return s.keys.AcquireKey(context.WithValue(ctx, joinedKey{}, waiting.Value(joinedKey{})))
		}, s.waiting)
		assert.Contains(t, s.leftovers(), "somebody waits")
		cancel()
		require.ErrorIs(t, await(t, done).err, context.Canceled)
		s.giveBack(held)
		s.toxicIdle(time.Now(), s.leftovers)
	})
	t.Run("task", func(t *testing.T) {
		t.Parallel()
		s := newToxicStage(t)
		s.leftovers = s.taskLeftovers
		require.Empty(t, s.leftovers())
		h, err := s.jobs(s.near).Submit(ctx, job{})
		require.NoError(t, err)
		assert.Len(t, s.leftovers(), 2, "the task, and that it has not ended")
		require.NoError(t, h.Cancel(ctx))
		require.Empty(t, s.leftovers())
	})
}

// careless is a backend that forgets what a lost answer has granted.
type careless struct{ *rueidis.Backend }

func (c careless) Take(ctx context.Context, req backend.TakeRequest) (backend.TakeReply, error) {
	_, err := c.Backend.Take(ctx, req)
	return backend.TakeReply{}, errors.Join(backend.ErrUnavailable, err)
}

// TestToxicFindsGoroutines: a goroutine that a scenario has started is found, also by way of others, and no other is.
func TestToxicFindsGoroutines(t *testing.T) {
	t.Parallel()
	name := redistest.Prefix(t)
	end, begun := make(chan struct{}), make(chan struct{})
	go func() {
		markGoroutines(name)
		go func() {
			close(begun)
			<-end
		}()
	}()
	<-begun
	eventually(t, patience, "one is left", func() bool { return len(goroutinesOf(name)) == 1 })
	assert.Empty(t, goroutinesOf(name+"0"))
	close(end)
	eventually(t, patience, "none is left", func() bool { return len(goroutinesOf(name)) == 0 })
}

// TestToxicErrors: an error that is not documented is one.
func TestToxicErrors(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	for _, err := range []error{io.EOF, context.Canceled, context.DeadlineExceeded, syscall.ECONNRESET, pool.ErrNotHeld, task.ErrLost} {
		assert.NotEmpty(t, undocumented(ctx, "it", err, pool.ErrExhausted))
	}
	for _, err := range []error{nil, backend.ErrUnavailable, fmt.Errorf("it: %w", pool.ErrExhausted)} {
		assert.Empty(t, undocumented(ctx, "it", err, pool.ErrExhausted))
	}
	cancel()
	assert.Empty(t, undocumented(ctx, "it", fmt.Errorf("it: %w", context.Canceled)))
	assert.NotEmpty(t, undocumented(ctx, "it", context.DeadlineExceeded))
}

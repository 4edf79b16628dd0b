package task_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/task"
)

func TestOnceKeepsWhatIsDead(t *testing.T) {
	bubble(t, func(t *testing.T, be *memory.Backend) {
		q := task.NewQueue[int, int](be, ns, "q", task.Config{})
		w := newWorker(t, be, "q")
		go func() { w.report(w.next(), backend.ReportDead, `{"message":"bad"}`) }()
		_, err := q.Query(t.Context(), 1, task.Once())
		require.ErrorIs(t, err, task.ErrDead)
		h, err := q.Submit(t.Context(), 1, task.Once())
		require.NoError(t, err)
		w.report(w.next(), backend.ReportDead, `{"message":"bad"}`)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, task.ErrDead)
		dead := 0
		for _, err := range q.Dead(t.Context()) {
			require.NoError(t, err)
			dead++
		}
		assert.Equal(t, 2, dead)
	})
}

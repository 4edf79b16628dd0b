package backendtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/backendtest"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) {
	redistest.Parallel(16)
	goleak.VerifyTestMain(m)
}

func inMemory(*testing.T) backend.Backend { return memory.New() }

func TestMemory(t *testing.T) { backendtest.Run(t, inMemory) }

func TestMemoryInBubble(t *testing.T) { backendtest.RunBubble(t, inMemory) }

func TestMemoryReplay(t *testing.T) { backendtest.Replay(t, inMemory) }

func TestMemoryReplayInBubble(t *testing.T) { backendtest.ReplayBubble(t, inMemory) }

func TestTogether(t *testing.T) {
	backendtest.RunBubble(t, func(*testing.T) backend.Backend {
		be := memory.New()
		return backendtest.Together(be, be)
	})
}

package policy

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dropped is a lease that its user loses sight of.
type dropped struct {
	Lease[int]
	id    string
	after func()
}

func (d *dropped) UniqueID() string      { return d.id }
func (d *dropped) Object() int           { return 0 }
func (d *dropped) AfterRelease(f func()) { d.after = f }

func TestAutoCloseDoesNotHoldOnToLeasesThatWereDropped(t *testing.T) {
	a := AutoClose[int]()(Func[int](func(context.Context, Pool[int], Request[int]) ([]Lease[int], error) {
		return nil, ErrExhausted
	})).(*autoClose[int])
	for i := range 1000 {
		require.Nil(t, a.remember(&dropped{id: strconv.Itoa(i)}))
	}
	known := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.known)
	}
	require.Eventually(t, func() bool {
		runtime.GC()
		return known() == 0
	}, time.Minute, time.Millisecond)
}

package lease

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestQueueFindsEachHoldInTimeAndNotMuchTooEarly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		at := map[*Hold]Instant{} // those in the queue, and when they have to be found
		begun := map[*Hold]Instant{}
		now := Instant(rapid.Int64Range(0, 1e15).Draw(t, "start"))
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				h := new(Hold)
				wait := time.Duration(rapid.Int64Range(0, int64(1)<<rapid.IntRange(1, 60).Draw(t, "bits")).Draw(t, "wait"))
				at[h], begun[h] = now.add(wait), now
				due := q.insert(h, now, at[h])
				require.LessOrEqual(t, due, at[h])
			case 2:
				for h := range at { // any
					q.remove(h)
					delete(at, h)
					break
				}
			case 3:
				now = now.add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "pause")))
				q.each(func(slot int, l *list) bool {
					for h := l.head; h != nil && h.due <= now; h = l.head {
						require.Equal(t, slot, int(h.slot))
						require.LessOrEqual(t, h.due, at[h])
						wait := float64(at[h] - begun[h])
						require.GreaterOrEqual(t, float64(h.due-begun[h]), wait*7/8-1)
						q.remove(h)
						delete(at, h)
					}
					return true
				})
				for h := range at {
					require.Greater(t, h.due.add(1<<firstBits), now, "one that is due was not found")
				}
			}
			next := never
			for h := range at {
				next = min(next, h.due)
			}
			require.InDelta(t, float64(next), float64(q.next()), 1<<firstBits)
		}
	})
}

func TestMarginIsAFiftiethWithinBounds(t *testing.T) {
	t.Parallel()
	for ttl, want := range map[time.Duration]time.Duration{
		time.Millisecond:      500 * time.Microsecond,
		10 * time.Millisecond: time.Millisecond,
		time.Second:           20 * time.Millisecond,
		time.Minute:           250 * time.Millisecond,
	} {
		require.Equal(t, want, Margin(ttl), ttl)
	}
}

package rueidis

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestForgettingTogether: submissions that travel together forget what each of them wants forgotten, and nothing gets mixed up.
func TestForgettingTogether(t *testing.T) {
	t.Parallel()
	const tasks = 64
	for name, opt := range map[string]Option{"": func(*options) {}, "the long way": func(o *options) { o.roundabout = true }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWatchRoom(t, redistest.URL(t))
			b := r.process(r.url, opt)
			for i := range tasks {
				r.submits(b, named(fmt.Sprint("old", i)))
			}
			r.reports(b, backend.ReportDone, "result", r.fetches(b, tasks)...)
			together(tasks, func(i int) {
				r.submits(b, named(fmt.Sprint("new", i)), func(req *backend.SubmitRequest) {
					req.Fresh, req.Payload = i%2 == 0, []byte(fmt.Sprint(i))
					if i%3 > 0 {
						req.Forget = []string{fmt.Sprint("old", i), req.ID, "nobody"}
					}
				})
			})
			for i := range tasks {
				state := backend.TaskDone
				if i%3 > 0 {
					state = backend.TaskUnknown
				}
				assert.Equal(t, state, r.task(b, fmt.Sprint("old", i)).State)
				got := r.task(b, fmt.Sprint("new", i))
				assert.Equal(t, backend.TaskWaiting, got.State)
				assert.Equal(t, fmt.Sprint(i), string(got.Payload))
			}
		})
	}
}

package backendtest

import (
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// The verbs of those who watch tasks.

// watches watches a task.
func (r *room) watches(id string, progress bool) backend.WatchReply {
	r.tb.Helper()
	got, err := r.be.Watch(r.ctx, backend.WatchRequest{Namespace: r.ns, ID: id, Progress: progress})
	r.ok(err, "Watch "+id)
	if over := got.Task.State == backend.TaskUnknown || got.Task.State.Final(); over != (got.Watching == nil) {
		r.Fatalf("Watch of %s, which is %v, watches: %v", id, got.Task.State, got.Watching != nil)
	}
	return got
}

// follows watches a task that has not ended.
func (r *room) follows(id string, progress bool) *backend.Watching {
	r.tb.Helper()
	got := r.watches(id, progress)
	if got.Watching == nil {
		r.Fatalf("there is nothing to watch: %s is %+v", id, got.Task)
	}
	return got.Watching
}

// told waits for a message whose task is as it should be. Those before are not looked at.
func (r *room) told(w *backend.Watching, what string, wanted func(*backend.TaskInfo) bool) backend.TaskInfo {
	r.tb.Helper()
	if w == nil {
		r.Fatalf("nothing is watched")
	}
	end := time.NewTimer(patience)
	defer end.Stop()
	var last *backend.TaskInfo
	for {
		select {
		case c := <-w.Changes:
			r.ok(c.Err, "the watch")
			if wanted(&c.Task) {
				return c.Task
			}
			if c.Task.State.Final() || c.Task.State == backend.TaskUnknown {
				r.Fatalf("the last message says %+v, and not %s", c.Task, what)
			}
			last = &c.Task
		case <-end.C:
			r.Fatalf("nobody was told in %v: %s; the last message is %+v", patience, what, last)
		}
	}
}

// final waits for the final state, whatever is told before.
func (r *room) final(w *backend.Watching) backend.TaskInfo {
	r.tb.Helper()
	return r.told(w, "how the task ended", func(t *backend.TaskInfo) bool { return t.State.Final() })
}

// firstTold waits for a message, which must be about this state.
func (r *room) firstTold(w *backend.Watching, want backend.TaskState) backend.TaskInfo {
	r.tb.Helper()
	got := r.told(w, "anything", func(*backend.TaskInfo) bool { return true })
	if got.State != want {
		r.Errorf("the first message is about %v, want %v: %+v", got.State, want, got)
	}
	return got
}

// silent expects that a watch has told nothing that was not received.
func (r *room) silent(what string, w *backend.Watching) {
	r.tb.Helper()
	select {
	case c := <-w.Changes:
		r.Errorf("%s: told of %+v, %v", what, c.Task, c.Err)
	default:
	}
}

// inState is what told is asked for.
func inState(state backend.TaskState, attempts int) (string, func(*backend.TaskInfo) bool) {
	return fmt.Sprintf("%v, attempt %d", state, attempts), func(t *backend.TaskInfo) bool {
		return t.State == state && t.Attempts == attempts
	}
}

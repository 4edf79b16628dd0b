package stress

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/task"
)

// accountant goes through the ledger and compares, for each task that has ended and for which nobody waits any more, what was
// done and told with what its sort promises. Then it strikes it out.
type accountant struct {
	*findings
	be    task.Backend
	guard *guard
	space backend.Namespace
	gone  func(task string) bool // whether the process that has submitted it is gone for good

	next   int                  // where the next page begins
	ended  map[task.State]int64 // so many have been struck out
	never  []string             // tasks of dead processes that had not come so far as to submit them
	deaths int
	runs   int // of one task, at most
}

// page is how many tasks are looked at at once.
const page = 200

// look accounts for a page of the ledger.
func (a *accountant) look(ctx context.Context) error {
	entries, total, err := a.guard.entries(ctx, a.next, page)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		a.next = 0
		return nil
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
		// Asked before the store is: what it does not know then it never will.
		e.Left = e.Left || a.gone(e.ID)
	}
	reply, err := a.be.Tasks(ctx, backend.TasksRequest{Namespace: a.space, IDs: ids})
	if err != nil {
		return err
	}
	var known, unknown []*entry
	infos := make(map[*entry]*backend.TaskInfo)
	for i, e := range entries {
		switch info := &reply.Tasks[i]; {
		case info.State == task.Unknown && (e.Acked || e.Left):
			unknown = append(unknown, e)
		case info.State.Final() && e.Left:
			known, infos[e] = append(known, e), info
		}
	}
	// Read again, now that they have ended: what was done had to be noted before.
	if err := a.guard.read(ctx, known); err != nil {
		return err
	}
	var struck, removed []string
	for _, e := range unknown {
		a.miss(e)
		struck = append(struck, e.ID)
	}
	for _, e := range known {
		a.compare(e, infos[e])
		struck = append(struck, e.ID)
		if infos[e].State != task.Dead { // those are counted in the end
			removed = append(removed, e.ID)
		}
	}
	if a.next += len(entries) - len(struck); a.next >= total-len(struck) {
		a.next = 0
	}
	if err := a.guard.strike(ctx, struck); err != nil || len(removed) == 0 {
		return err
	}
	_, err = a.be.EditTasks(ctx, backend.TaskEdit{Namespace: a.space, Action: backend.TasksRemove, IDs: removed})
	return err
}

// miss is for a task that the store does not know.
func (a *accountant) miss(e *entry) {
	if e.Acked || len(e.Began) > 0 {
		a.add("task", "%s is lost: it was submitted, and is not known (%+v)", e.ID, *e)
		return
	}
	a.never = append(a.never, e.ID) // who was to submit it died before that
}

// compare holds the end of a task against what must have become of it.
func (a *accountant) compare(e *entry, info *backend.TaskInfo) {
	bad := func(what string) { a.add("task", "%s %s (%+v; %s)", e.ID, what, *e, standing(info)) }
	s := sortOf(e.Sort)
	a.ended[info.State]++
	a.deaths += info.Deaths
	a.runs = max(a.runs, len(e.Began))
	if s == nil {
		bad("is none that was registered")
		return
	}
	if !slices.Contains(s.ends, info.State) {
		bad("has ended as it must not")
	}
	if e.Told != "" && e.Told != info.State.String() {
		bad("has ended otherwise than somebody was told")
	}
	if len(e.Began) > info.Attempts {
		bad("was begun more often than it was given out")
	}
	if s.ran > 0 && info.Attempts-info.Deaths != s.ran {
		bad("has not had the attempts that it should have")
	}
	if info.State != task.Done {
		return
	}
	var p product
	if err := json.Unmarshal(info.Result, &p); err != nil || p.N != e.N {
		bad("has another result than was asked for")
	}
	if !e.Applied[p.Fence] {
		bad("was done by nobody")
	}
}

// standing tells of a task what matters here.
func standing(info *backend.TaskInfo) string {
	text, _ := json.Marshal(struct {
		State            string
		Attempts, Deaths int
		Submitted        time.Time
		Result, Error    string
	}{info.State.String(), info.Attempts, info.Deaths, info.Submitted, string(info.Result), string(info.Error)})
	return string(text)
}

package model_test

import (
	"context"
	"reflect"
	"time"

	"pgregory.net/rapid"

	"github.com/redisallocator/redisallocator/backend"
)

// What those do who submit and watch tasks, and administrators.

// request draws a new task, or one that is there.
func (p *tasks) request() backend.SubmitRequest {
	req := backend.SubmitRequest{
		Namespace: p.ns, Timeout: 3 * long, Retention: long, MaxDeaths: rapid.IntRange(1, 2).Draw(p.t, "deaths"),
		Queue: rapid.SampledFrom(queueNames).Draw(p.t, "queue"), ID: rapid.SampledFrom(taskIDs).Draw(p.t, "id"),
		Class:   rapid.SampledFrom(taskClasses).Draw(p.t, "class"),
		Payload: []byte(rapid.SampledFrom(payloads).Draw(p.t, "payload")), Meta: []byte(rapid.SampledFrom(payloads).Draw(p.t, "meta")),
		IfListened: p.chance(6, "if listened"),
	}
	if p.chance(5, "fresh") {
		req.Fresh, req.ID = true, p.token()
		p.ids = append(p.ids, req.ID)
	}
	if p.chance(5, "later") {
		req.Delay = long
	}
	if req.Watch = p.chance(3, "watching"); req.Watch {
		req.Progress = p.chance(2, "progress")
	}
	if p.chance(6, "forgetting") {
		for _, id := range p.some(taskIDs, 1, 2) {
			// Whether the dead are forgotten is left open, and whether the task itself is.
			if id != req.ID && p.info(0, id).State != backend.TaskDead {
				req.Forget = append(req.Forget, id)
			}
		}
	}
	return req
}

// submits submits on both sides, and reports whether there is a new task.
func (p *tasks) submits(req backend.SubmitRequest) bool {
	got := both(p.pair, "Submit", func(ctx context.Context, be backend.Backend) (backend.SubmitReply, error) {
		return be.Submit(ctx, req)
	})
	p.watching(req.ID, got[0].Watching, got[1].Watching)
	for i := range got {
		got[i].Task, got[i].Watching = timeless(got[i].Task), nil
		if !got[i].Joined {
			got[i].Task = backend.TaskInfo{}
		}
	}
	if !reflect.DeepEqual(got[0], got[1]) {
		p.mismatch("Submit", got[0], got[1])
	}
	return got[0].Created
}

func (p *tasks) submit() { p.submits(p.request()) }

// submitBriefly submits what then expires.
func (p *tasks) submitBriefly() {
	req := p.request()
	req.Timeout, req.Delay = fleeting, 0
	if p.submits(req) {
		p.becomes(req.ID, backend.TaskExpired)
	}
}

// submitLater submits what is due in a moment.
func (p *tasks) submitLater() {
	req := p.request()
	req.Delay = fleeting
	if p.submits(req) {
		p.becomes(req.ID, backend.TaskWaiting)
	}
}

func (p *tasks) edit() {
	req := backend.TaskEdit{
		Namespace: p.ns, IDs: p.some(taskIDs, 1, 3),
		Action: rapid.SampledFrom([]backend.TaskAction{backend.TasksCancel, backend.TasksRemove, backend.TasksRevive}).Draw(p.t, "action"),
	}
	agree(p.pair, "EditTasks", func(ctx context.Context, be backend.Backend) (backend.TaskEditReply, error) {
		return be.EditTasks(ctx, req)
	})
}

func (p *tasks) pause() {
	req := backend.TaskEdit{Namespace: p.ns, Queue: rapid.SampledFrom(queueNames).Draw(p.t, "queue"), Action: backend.QueueResume}
	if p.chance(2, "pause") {
		req.Action = backend.QueuePause
	}
	both(p.pair, "EditTasks", func(ctx context.Context, be backend.Backend) (backend.TaskEditReply, error) {
		return be.EditTasks(ctx, req)
	})
}

func (p *tasks) watch() {
	req := backend.WatchRequest{Namespace: p.ns, ID: rapid.SampledFrom(p.ids).Draw(p.t, "id"), Progress: p.chance(2, "progress")}
	got := both(p.pair, "Watch", func(ctx context.Context, be backend.Backend) (backend.WatchReply, error) { return be.Watch(ctx, req) })
	p.watching(req.ID, got[0].Watching, got[1].Watching)
	if a, b := timeless(got[0].Task), timeless(got[1].Task); !reflect.DeepEqual(a, b) {
		p.mismatch("Watch", a, b)
	}
}

// watched is one task that is watched on both sides.
type watched struct {
	id string
	on [2]*backend.Watching
}

func (p *tasks) watching(id string, a, b *backend.Watching) {
	if (a == nil) != (b == nil) {
		p.mismatch("watching "+id, a != nil, b != nil)
	}
	if a != nil {
		p.watches = append(p.watches, &watched{id, [2]*backend.Watching{a, b}})
	}
}

// becomes waits until a task is in a state on both sides.
func (p *tasks) becomes(id string, want backend.TaskState) {
	p.until("that "+id+" is "+want.String(), func() bool {
		for side := range p.be {
			if p.info(side, id).State != want {
				return false
			}
		}
		return true
	})
}

// dies waits until a task is not under this lease any more on both sides.
func (p *tasks) dies(id string, deaths int) {
	p.until("that the holder of "+id+" dies", func() bool {
		for side := range p.be {
			if p.info(side, id).Deaths != deaths {
				return false
			}
		}
		return true
	})
}

// info looks at one task.
func (p *tasks) info(side int, id string) backend.TaskInfo { return p.infos(side, id)[0] }

func (p *tasks) infos(side int, ids ...string) []backend.TaskInfo {
	p.t.Helper()
	got, err := p.be[side].Tasks(p.ctx, backend.TasksRequest{Namespace: p.ns, IDs: ids, Payload: true})
	if err != nil {
		p.t.Fatalf("Tasks: %v", err)
	}
	return got.Tasks
}

// timeless is a task without clocks: of times, whether there are any.
func timeless(t backend.TaskInfo) backend.TaskInfo {
	if t.State == backend.TaskUnknown {
		return backend.TaskInfo{}
	}
	for _, at := range []*time.Time{&t.Submitted, &t.Due, &t.Deadline} {
		if !at.IsZero() {
			*at = time.Unix(1, 0)
		}
	}
	for _, data := range []*[]byte{&t.Payload, &t.Meta, &t.Result, &t.Error, &t.Progress} {
		if len(*data) == 0 {
			*data = nil
		}
	}
	t.Remaining = min(t.Remaining, 1)
	return t
}

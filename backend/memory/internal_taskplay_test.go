package memory

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func TestInvariantsOfTasksHoldAfterEveryStep(t *testing.T) {
	seeds := 25
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Log("seed", seed)
				}
			}()
			newTaskPlay(t, rand.New(rand.NewPCG(2, uint64(seed)))).run(300)
		})
	}
}

// taskPlay does random things to a few queues.
type taskPlay struct {
	*rand.Rand
	t      *testing.T
	b      *Backend
	held   []backend.TaskGrant
	ids    []string
	watch  map[string][]*backend.Watching
	fences int64
}

func newTaskPlay(t *testing.T, rnd *rand.Rand) *taskPlay {
	b := New()
	t.Cleanup(func() { _ = b.Close() })
	return &taskPlay{Rand: rnd, t: t, b: b, watch: make(map[string][]*backend.Watching)}
}

func (p *taskPlay) run(steps int) {
	for range steps {
		switch p.IntN(12) {
		case 0, 1, 2:
			p.submit()
		case 3, 4, 5:
			p.fetch()
		case 6, 7, 8:
			p.report()
		case 9:
			p.edit()
		case 10:
			p.look()
		default:
			<-time.After(time.Duration(p.IntN(3000)) * time.Millisecond)
			synctest.Wait()
		}
		if ts := p.b.space(testSpace).tasks; ts != nil {
			ts.check(p.t)
		}
		p.told()
	}
}

func (p *taskPlay) span() time.Duration { return time.Duration(1+p.IntN(10_000)) * time.Millisecond }
func (p *taskPlay) queue() string       { return "q" + strconv.Itoa(p.IntN(3)) }
func (p *taskPlay) id() string          { return strconv.Itoa(p.IntN(30)) }

func (p *taskPlay) submit() {
	req := backend.SubmitRequest{
		Namespace: testSpace, Queue: p.queue(), ID: p.id(), Class: backend.TaskClass(p.IntN(lanes)), MaxDeaths: 1 + p.IntN(3),
		Timeout: p.span(), Retention: p.span(), Watch: p.IntN(2) == 0, Progress: p.IntN(2) == 0, IfListened: p.IntN(8) == 0,
		Forget: []string{p.id()},
	}
	if p.IntN(3) == 0 {
		req.Delay = p.span()
		req.Timeout += req.Delay
	}
	if p.IntN(2) == 0 {
		req.Graveyard = p.span()
	}
	reply, err := p.b.Submit(p.t.Context(), req)
	if errors.Is(err, backend.ErrConflict) {
		return
	}
	require.NoError(p.t, err)
	p.ids = append(p.ids, req.ID)
	p.add(req.ID, reply.Watching)
}

func (p *taskPlay) add(id string, w *backend.Watching) {
	if w != nil {
		p.watch[id] = append(p.watch[id], w)
	}
}

// fetch is that of a listener that never stays away for too long.
func (p *taskPlay) fetch() {
	req := backend.FetchRequest{
		Namespace: testSpace, Listener: strconv.Itoa(p.IntN(6)), Token: backend.NewToken(), TTL: p.span(), Mark: 24 * time.Hour,
		Max: p.IntN(4), Leave: p.IntN(10) == 0,
	}
	for _, i := range p.Perm(3)[:1+p.IntN(3)] {
		for class := range lanes {
			req.Lanes = append(req.Lanes, backend.FetchLane{Queue: len(req.Queues), Class: backend.TaskClass(class), Max: 10})
		}
		req.Queues = append(req.Queues, backend.FetchQueue{Name: "q" + strconv.Itoa(i), Room: p.IntN(4)})
	}
	reply, err := p.b.Fetch(p.t.Context(), req)
	require.NoError(p.t, err)
	require.LessOrEqual(p.t, len(reply.Tasks), req.Max)
	for _, g := range reply.Tasks {
		require.Greater(p.t, g.Fence, p.fences)
		p.fences = g.Fence
	}
	p.held = append(p.held, reply.Tasks...)
}

func (p *taskPlay) report() {
	if len(p.held) == 0 {
		return
	}
	g := &p.held[p.IntN(len(p.held))]
	if p.IntN(3) == 0 {
		_, err := p.b.RenewTasks(p.t.Context(), backend.RenewRequest{Namespace: testSpace, Items: []backend.Renewal{
			{Member: g.Task.ID, Token: g.Token, TTL: p.span()},
		}})
		require.NoError(p.t, err)
		return
	}
	it := backend.TaskReport{ID: g.Task.ID, Token: g.Token, Kind: backend.ReportProgress + backend.ReportKind(p.IntN(6)), Data: []byte("data")}
	if it.Kind == backend.ReportRetry {
		it.After = time.Duration(p.IntN(2)) * p.span()
	}
	reply, err := p.b.Report(p.t.Context(), backend.ReportRequest{Namespace: testSpace, Items: []backend.TaskReport{it, it}})
	require.NoError(p.t, err)
	require.Equal(p.t, reply.Accepted[0], reply.Accepted[1], "a report may be sent again")
}

func (p *taskPlay) edit() {
	req := backend.TaskEdit{Namespace: testSpace, Action: backend.TasksCancel + backend.TaskAction(p.IntN(5))}
	if req.Action < backend.QueuePause {
		req.IDs = []string{p.id(), p.id()}
	} else {
		req.Queue = p.queue()
	}
	_, err := p.b.EditTasks(p.t.Context(), req)
	require.NoError(p.t, err)
}

func (p *taskPlay) look() {
	ctx, id := p.t.Context(), p.id()
	if len(p.watch[id]) > 0 && p.IntN(2) == 0 {
		p.watch[id][0].Stop()
		p.watch[id][0].Stop()
		p.watch[id] = p.watch[id][1:]
	}
	reply, err := p.b.Watch(ctx, backend.WatchRequest{Namespace: testSpace, ID: id, Progress: p.IntN(2) == 0})
	require.NoError(p.t, err)
	require.Equal(p.t, reply.Watching == nil, reply.Task.State == backend.TaskUnknown || reply.Task.State.Final())
	p.add(id, reply.Watching)
	states := []backend.TaskState{backend.TaskScheduled, backend.TaskWaiting, backend.TaskRunning, backend.TaskDead}
	req := backend.TasksRequest{Namespace: testSpace, Queue: p.queue(), State: states[p.IntN(len(states))], Limit: 1 + p.IntN(4)}
	for range 30 {
		page, err := p.b.Tasks(ctx, req)
		require.NoError(p.t, err)
		require.LessOrEqual(p.t, len(page.Tasks), req.Limit)
		for _, info := range page.Tasks {
			require.Equal(p.t, req.State, info.State)
			require.Equal(p.t, req.Queue, info.Queue)
		}
		if req.Cursor = page.Cursor; req.Cursor == "" {
			return
		}
	}
	require.Fail(p.t, "the listing does not end")
}

// told expects that each watch has been told of the end, and of that last.
func (p *taskPlay) told() {
	s := p.b.space(testSpace)
	for id, all := range p.watch {
		s.mu.Lock()
		task := s.tasks.byID[id]
		s.mu.Unlock()
		kept := all[:0]
		for _, w := range all {
			select {
			case c := <-w.Changes:
				require.NoError(p.t, c.Err)
				if c.Task.State.Final() {
					continue
				}
			default:
			}
			require.NotNil(p.t, task, "somebody watches what is gone")
			kept = append(kept, w)
		}
		if p.watch[id] = kept; len(kept) == 0 {
			delete(p.watch, id)
		}
	}
}

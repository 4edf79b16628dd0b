package backendtest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenReports believe what they should not.
func brokenReports() []mutant {
	var holders, lessors tokens
	var repeated, tried, accepted sync.Map
	return []mutant{
		{"retries are at once", "report/retry-later", beforeReport(func(it *backend.TaskReport) { it.After = 0 })},
		{"what is returned goes to the end, and counts", "report/return", beforeReport(func(it *backend.TaskReport) {
			if it.Kind == backend.ReportReturn {
				it.Kind = backend.ReportRetry
			}
		})},
		{"what is tried again goes to the front", "report/retry-at-once", beforeReport(func(it *backend.TaskReport) {
			if it.Kind == backend.ReportRetry && it.After == 0 {
				it.Kind = backend.ReportReturn
			}
		})},
		{"what failed is done", "report/failed", beforeReport(func(it *backend.TaskReport) {
			if it.Kind == backend.ReportFailed {
				it.Kind = backend.ReportDone
			}
		})},
		{"what is dead has failed", "report/dead", beforeReport(func(it *backend.TaskReport) {
			if it.Kind == backend.ReportDead {
				it.Kind = backend.ReportFailed
			}
		})},
		{"results are lost", "report/done", beforeReport(func(it *backend.TaskReport) {
			if it.Kind == backend.ReportDone {
				it.Data = nil
			}
		})},
		{"progress is not kept", "report/progress", afterLooking(func(t *backend.TaskInfo) { t.Progress = nil })},
		{"the progress of an attempt ends with it", "report/progress", afterLooking(func(t *backend.TaskInfo) {
			if t.State != backend.TaskRunning {
				t.Progress = nil
			}
		})},
		{"what is done had no errors", "report/error-stays", afterLooking(func(t *backend.TaskInfo) {
			if t.State == backend.TaskDone {
				t.Error = nil
			}
		})},
		{"anybody reports", "report/stranger", broken{tasks: brokenQueues{
			fetch:  holders.noting,
			report: beforeReport(func(it *backend.TaskReport) { it.Token = holders.of(it.ID, it.Token) }).tasks.report,
		}}},
		{"who has had it reports", "report/after", broken{tasks: brokenQueues{
			fetch: lessors.noting,
			report: beforeReport(func(it *backend.TaskReport) {
				if it.Kind == backend.ReportProgress {
					it.Token = lessors.of(it.ID, it.Token)
				}
			}).tasks.report,
		}}},
		{"reports are all or none", "report/each", reportsByOne(true)},
		{"the last report counts", "report/in-order", broken{tasks: brokenQueues{
			report: func(ctx context.Context, be backend.Backend, req backend.ReportRequest) (backend.ReportReply, error) {
				req.Items = slices.Clone(req.Items)
				slices.Reverse(req.Items)
				got, err := be.Report(ctx, req)
				slices.Reverse(got.Accepted)
				return got, err
			},
		}}},
		{"reports are not accepted again", "report/again-done", notAgain(&repeated)},
		{"errors are not accepted again", "report/again-failed", notAgain(&repeated)},
		{"deaths are not accepted again", "report/again-dead", notAgain(&repeated)},
		{"retries are not accepted again", "report/again-retry", notAgain(&repeated)},
		{"returns are not accepted again", "report/again-return", notAgain(&repeated)},
		{"what was accepted once is so for ever", "report/again-too-late", broken{tasks: brokenQueues{
			report: func(ctx context.Context, be backend.Backend, req backend.ReportRequest) (backend.ReportReply, error) {
				got, err := be.Report(ctx, req)
				for i := range got.Accepted {
					key := fmt.Sprint(req.Namespace.Task(req.Items[i].ID), req.Items[i].Token, req.Items[i].Kind)
					if got.Accepted[i] {
						accepted.Store(key, true)
					}
					_, got.Accepted[i] = accepted.Load(key)
				}
				return got, err
			},
		}}},
		{"a retry that is sent again is put off", "report/scheduled-again", broken{tasks: brokenQueues{
			report: func(ctx context.Context, be backend.Backend, req backend.ReportRequest) (backend.ReportReply, error) {
				got, err := be.Report(ctx, req)
				for i, ok := range got.Accepted {
					key := req.Namespace.Task(req.Items[i].ID) + req.Items[i].Token
					if _, again := tried.LoadOrStore(key, true); again && ok && req.Items[i].After > 0 {
						does(ctx, be, req.Namespace, backend.TasksCancel, req.Items[i].ID)
						does(ctx, be, req.Namespace, backend.TasksRemove, req.Items[i].ID)
						_, err = be.Submit(ctx, backend.SubmitRequest{
							Namespace: req.Namespace, Queue: "q", ID: req.Items[i].ID, Timeout: time.Hour, Delay: req.Items[i].After,
							Retention: time.Hour, MaxDeaths: 1,
						})
					}
				}
				return got, err
			},
		}}},
		{"final states are kept", "report/retention", beforeSubmit(func(q *backend.SubmitRequest) { q.Retention = time.Hour })},
		{"the dead are kept like others", "report/graveyard", beforeSubmit(func(q *backend.SubmitRequest) { q.Graveyard = 0 })},
		{"others are kept like the dead", "report/graveyard", beforeSubmit(func(q *backend.SubmitRequest) {
			if q.Graveyard > 0 {
				q.Retention = q.Graveyard
			}
		})},
		{"who retries dies", "task-lease/not-deaths", beforeReport(func(it *backend.TaskReport) {
			if _, again := tried.LoadOrStore(it.ID, true); again && it.Kind == backend.ReportRetry {
				it.Kind = backend.ReportDead
			}
		})},
		{"renewals are forgotten", "task-lease/renew", broken{tasks: brokenQueues{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				return backend.RenewReply{Renewed: slices.Repeat([]bool{true}, len(req.Items))}, nil
			},
		}}},
		{"anybody renews", "task-lease/renew-each", broken{tasks: brokenQueues{
			fetch: holders.noting,
			renew: beforeRenewal(func(it *backend.Renewal) { it.Token = holders.of(it.Member, it.Token) }).tasks.renew,
		}}},
		{"renewals do not shorten", "task-lease/shorter", beforeRenewal(func(it *backend.Renewal) { it.TTL = max(it.TTL, time.Hour) })},
		{"what ran out is renewed", "task-lease/no-revival", broken{tasks: brokenQueues{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				got, err := be.RenewTasks(ctx, req)
				for i := range got.Renewed {
					got.Renewed[i] = taskOf(ctx, be, req.Namespace, req.Items[i].Member).State != backend.TaskUnknown
				}
				return got, err
			},
		}}},
		{"a renewed lease outlasts its task", "task-lease/capped-renewal", broken{tasks: brokenQueues{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				got, err := be.RenewTasks(ctx, req)
				for i := range got.Renewed {
					got.Renewed[i] = got.Renewed[i] || taskOf(ctx, be, req.Namespace, req.Items[i].Member).State == backend.TaskExpired
				}
				return got, err
			},
		}}},
		{"reports are accepted late", "task-expiry/running", broken{tasks: brokenQueues{
			report: func(ctx context.Context, be backend.Backend, req backend.ReportRequest) (backend.ReportReply, error) {
				got, err := be.Report(ctx, req)
				for i := range got.Accepted {
					got.Accepted[i] = got.Accepted[i] || taskOf(ctx, be, req.Namespace, req.Items[i].ID).State == backend.TaskExpired
				}
				return got, err
			},
		}}},
		{"good reports are accepted before bad ones", "invalid/report", reportsByOne(false)},
		{"tokens of tasks may change", "invalid/renew-tasks", broken{tasks: brokenQueues{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				req.Items = slices.Clone(req.Items)
				for i := range req.Items {
					req.Items[i].NewToken = ""
				}
				return be.RenewTasks(ctx, req)
			},
		}}},
	}
}

// notAgain refuses what was accepted already.
func notAgain(seen *sync.Map) broken {
	return broken{tasks: brokenQueues{
		report: func(ctx context.Context, be backend.Backend, req backend.ReportRequest) (backend.ReportReply, error) {
			got, err := be.Report(ctx, req)
			for i, ok := range got.Accepted {
				it := &req.Items[i]
				if _, again := seen.LoadOrStore(req.Namespace.Task(it.ID)+it.Token, true); ok && again && it.Kind != backend.ReportProgress {
					got.Accepted[i] = false
				}
			}
			return got, err
		},
	}}
}

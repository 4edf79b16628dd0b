package backendtest_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

func brokenLines() []mutant {
	var arrivals atomic.Int64
	return []mutant{
		{"the line is unfair", "line/arrival", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if req.Validate() == nil {
					req.Priority = int(arrivals.Add(1) % backend.MaxPriority)
				}
				return be.Enter(ctx, req)
			},
		}},
		{"priorities are ignored", "line/priority", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if req.Validate() == nil {
					req.Priority = 0
				}
				return be.Enter(ctx, req)
			},
		}},
		{"priorities are upside down", "line/priority", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				req.Priority = -req.Priority
				return be.Enter(ctx, req)
			},
		}},
		{"taking overtakes", "line/no-overtaking", broken{
			take: func(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
				got, err := be.Take(ctx, req)
				if err == nil && len(got.Grants) == 0 && !req.Only {
					return takeFree(ctx, be, req)
				}
				return got, err
			},
		}},
		{"entering overtakes", "line/joins-behind", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if got, err := takeFree(ctx, be, req.Take); req.Validate() == nil && err == nil && len(got.Grants) > 0 {
					return backend.EnterReply{Grants: got.Grants}, nil
				}
				return be.Enter(ctx, req)
			},
		}},
		{"small requests starve large ones", "line/several", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if req.Validate() == nil && req.Take.Count > 1 {
					req.Priority = -backend.MaxPriority
				}
				return be.Enter(ctx, req)
			},
		}},
		{"nobody is told", "handover/return", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				got, err := be.Enter(ctx, req)
				if got.Handover != nil {
					got.Handover = make(chan backend.Handover)
				}
				return got, err
			},
		}},
		{"claims are leases at once", "claim/passes-on", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if req.Validate() == nil {
					req.ClaimTTL = time.Hour
				}
				return be.Enter(ctx, req)
			},
		}},
		{"claims last as long as the lease", "claim/ttl", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if req.ClaimTTL > 0 && req.Take.TTL > 0 {
					req.ClaimTTL = min(req.ClaimTTL, req.Take.TTL)
				}
				return be.Enter(ctx, req)
			},
		}},
		{"renewed claims stay claims", "claim/becomes-lease", broken{
			renew: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				if req.Validate() != nil || len(req.Items) != 1 || req.Items[0].NewToken != "" {
					return be.Renew(ctx, req)
				}
				owner := ownerOf(ctx, be, req.Namespace, req.Items[0].Member)
				return backend.RenewReply{Renewed: []bool{owner == req.Items[0].Token}}, nil
			},
		}},
		{"waiting forgets the binding", "handover/binding", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if req.Validate() == nil {
					req.Take.Binding = ""
				}
				return be.Enter(ctx, req)
			},
		}},
		{"waiting forgets the preference", "handover/prefer", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if req.Validate() == nil {
					req.Take.Prefer = nil
				}
				return be.Enter(ctx, req)
			},
		}},
		{"leaving keeps what was granted", "leave/granted", broken{
			leave: func(ctx context.Context, be backend.Backend, req backend.LeaveRequest) (backend.LeaveReply, error) {
				if queue, err := be.Queue(ctx, backend.QueueRequest{Namespace: req.Namespace, Token: req.Token}); err == nil && queue.Position == 0 {
					return backend.LeaveReply{}, nil
				}
				return be.Leave(ctx, req)
			},
		}},
		{"leaving gives back what was renewed", "leave/renewed", broken{
			leave: func(ctx context.Context, be backend.Backend, req backend.LeaveRequest) (backend.LeaveReply, error) {
				got, err := be.Leave(ctx, req)
				pool, _ := be.Inspect(ctx, backend.InspectRequest{Namespace: req.Namespace})
				for _, m := range pool.Members {
					if m.Locked && m.Owner == req.Token {
						_, _ = be.Return(ctx, backend.ReturnRequest{
							Namespace: req.Namespace, Items: []backend.Held{{Member: m.Name, Token: m.Owner}},
						})
						got.Returned++
					}
				}
				return got, err
			},
		}},
		{"leaving leaves the place in line", "leave/waiting", broken{
			leave: func(ctx context.Context, be backend.Backend, req backend.LeaveRequest) (backend.LeaveReply, error) {
				if queue, err := be.Queue(ctx, backend.QueueRequest{Namespace: req.Namespace, Token: req.Token}); err == nil && queue.Position > 0 {
					return backend.LeaveReply{Waiting: true}, nil
				}
				return be.Leave(ctx, req)
			},
		}},
		{"positions count from zero", "line/arrival", broken{
			queue: func(ctx context.Context, be backend.Backend, req backend.QueueRequest) (backend.QueueReply, error) {
				got, err := be.Queue(ctx, req)
				got.Position = max(got.Position-1, 0)
				return got, err
			},
		}},
		{"waits never end", "end/waits", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				got, err := be.Enter(ctx, req)
				if got.Handover != nil {
					in, out := got.Handover, make(chan backend.Handover, 1)
					go func() {
						select {
						case h := <-in:
							if h.Err == nil {
								out <- h
							}
						case <-ctx.Done(): // of the case
						}
					}()
					got.Handover = out
				}
				return got, err
			},
		}},
	}
}

// takeFree takes free members without respect for the line.
func takeFree(ctx context.Context, be backend.Backend, req backend.TakeRequest) (backend.TakeReply, error) {
	free := freeOf(ctx, be, req.Namespace)
	if len(free) == 0 || len(free) > backend.MaxTake {
		return backend.TakeReply{}, nil
	}
	req.Only, req.Prefer = true, free
	return be.Take(ctx, req)
}

package backendtest_test

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenTurns keep lines for names as they should not.
func brokenTurns() []mutant {
	var arrivals atomic.Int64
	return []mutant{
		{"the line for a name is unfair", "lock-line/arrival", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) { req.Priority = int(arrivals.Add(1) % backend.MaxPriority) }),
		}},
		{"priorities are ignored for names", "lock-line/priority", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) { req.Priority = 0 }),
		}},
		{"locking overtakes", "lock-line/no-overtaking", broken{
			lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
				got, err := be.Lock(ctx, req)
				if err != nil || len(got.Grants) > 0 || req.Again || req.Downgrade {
					return got, err
				}
				entered, err := be.Enter(ctx, backend.EnterRequest{Lock: req, Priority: backend.MaxPriority})
				if err == nil && entered.Handover != nil {
					leave := backend.LeaveRequest{Namespace: req.Namespace, Token: req.Token}
					for _, it := range req.Items {
						leave.Names = append(leave.Names, it.Name)
					}
					_, err = be.Leave(ctx, leave)
				}
				return backend.LockReply{Grants: entered.Grants}, err
			},
		}},
		{"everybody is of the highest class", "lock-line/joins-behind", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) { req.Priority = backend.MaxPriority }),
		}},
		{"a reader overtakes a writer", "lock-line/writer-first", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) {
				if req.Lock.Items[0].Units > 0 {
					req.Priority = backend.MaxPriority
				}
			}),
		}},
		{"readers enter one by one", "lock-line/readers-together", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) { req.Lock.Items[0].Units, req.Lock.Items[0].Limit = 0, 0 }),
		}},
		{"few units overtake many", "lock-line/units-in-turn", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) {
				if req.Lock.Items[0].Units == 1 {
					req.Priority = backend.MaxPriority
				}
			}),
		}},
		{"there is one line", "lock-line/joins", broken{
			queue: func(ctx context.Context, be backend.Backend, req backend.QueueRequest) (backend.QueueReply, error) {
				if req.Validate() == nil {
					req.Name = ""
				}
				return be.Queue(ctx, req)
			},
		}},
		{"all names have the same line", "lock-line/separate", broken{
			enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
				if n := len(req.Lock.Items); n == 1 && req.Validate() == nil && req.Lock.Items[0].Name == "b" {
					req.Lock.Items = append([]backend.LockItem{{Name: "a"}}, req.Lock.Items...)
				}
				return be.Enter(ctx, req)
			},
		}},
		{"nobody who waits for a name is told", "lock-handover/grant", broken{
			enter: afterEnter(func(context.Context, <-chan backend.Handover) <-chan backend.Handover {
				return make(chan backend.Handover)
			}),
		}},
		{"Since is in the future", "lock-handover/since", broken{
			enter: afterEnter(func(ctx context.Context, in <-chan backend.Handover) <-chan backend.Handover {
				return retold(ctx, in, func(h backend.Handover) backend.Handover {
					h.Since = h.Since.Add(time.Minute)
					return h
				})
			}),
		}},
		{"Since is when the message came", "lock-handover/since", broken{
			enter: afterEnter(late),
		}},
		{"Since of a member is when the message came", "lock-handover/since-pool", broken{
			enter: afterEnter(late),
		}},
		{"Since is missing", "handover/return", broken{
			enter: afterEnter(func(ctx context.Context, in <-chan backend.Handover) <-chan backend.Handover {
				return retold(ctx, in, func(h backend.Handover) backend.Handover {
					h.Since = time.Time{}
					return h
				})
			}),
		}},
	}
}

// brokenClaims hand over and take back names as they should not.
func brokenClaims() []mutant {
	return []mutant{
		{"claims to names are leases at once", "lock-claim/passes-on", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) { req.ClaimTTL = time.Hour }),
		}},
		{"claims to names last as long as the lease", "lock-claim/ttl", broken{
			enter: beforeEnter(func(req *backend.EnterRequest) {
				if req.ClaimTTL > 0 && req.Lock.TTL > 0 {
					req.ClaimTTL = min(req.ClaimTTL, req.Lock.TTL)
				}
			}),
		}},
		{"renewed claims to names stay claims", "lock-claim/becomes-lease", broken{
			prolong: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				if req.Validate() != nil || len(req.Items) != 1 || req.Items[0].NewToken != "" {
					return be.RenewLocks(ctx, req)
				}
				s := stateOf(ctx, be, req.Namespace, req.Items[0].Member)
				return backend.RenewReply{Renewed: []bool{s.Owner == req.Items[0].Token || len(s.Holders) > 0}}, nil
			},
		}},
		{"one renewal confirms all names", "lock-claim/partly-renewed", broken{
			prolong: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
				got, err := be.RenewLocks(ctx, req)
				for i, ok := range got.Renewed {
					if it := req.Items[i]; ok {
						it.Member = "b"
						_, _ = be.RenewLocks(ctx, backend.RenewRequest{Namespace: req.Namespace, Items: []backend.Renewal{it}})
					}
				}
				return got, err
			},
		}},
		{"claims cannot be unlocked", "lock-claim/unlocked", keepsClaims()},
		{"leaving keeps the names that were handed over", "lock-leave/granted", broken{
			leave: func(ctx context.Context, be backend.Backend, req backend.LeaveRequest) (backend.LeaveReply, error) {
				if req.Validate() == nil && len(req.Names) > 0 && place(ctx, be, req) == 0 {
					return backend.LeaveReply{}, nil
				}
				return be.Leave(ctx, req)
			},
		}},
		{"leaving gives back names that were granted at once", "lock-leave/at-once", broken{leave: leavesNothing}},
		{"leaving gives back names that were renewed", "lock-leave/renewed", broken{leave: leavesNothing}},
		{"leaving gives back members that were granted at once", "leave/at-once", broken{
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
		{"leaving leaves the place in the line of a name", "lock-leave/waiting", broken{
			leave: func(ctx context.Context, be backend.Backend, req backend.LeaveRequest) (backend.LeaveReply, error) {
				if req.Validate() == nil && len(req.Names) > 0 && place(ctx, be, req) > 0 {
					return backend.LeaveReply{Waiting: true}, nil
				}
				return be.Leave(ctx, req)
			},
		}},
	}
}

// afterEnter changes the channels of those who wait.
func afterEnter(change func(context.Context, <-chan backend.Handover) <-chan backend.Handover) func(context.Context, backend.Backend, backend.EnterRequest) (backend.EnterReply, error) {
	return func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
		got, err := be.Enter(ctx, req)
		if got.Handover != nil {
			got.Handover = change(ctx, got.Handover)
		}
		return got, err
	}
}

// late brings a hand-over when its message has taken some time, and takes that for the moment of the hand-over.
func late(ctx context.Context, in <-chan backend.Handover) <-chan backend.Handover {
	return retold(ctx, in, func(h backend.Handover) backend.Handover {
		select {
		case h.Since = <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
		return h
	})
}

// place is where a request stands in the first of its lines.
func place(ctx context.Context, be backend.Backend, req backend.LeaveRequest) int {
	queue, err := be.Queue(ctx, backend.QueueRequest{Namespace: req.Namespace, Name: req.Names[0], Token: req.Token})
	if err != nil {
		return 0
	}
	return queue.Position
}

// leavesNothing gives back all that is the token's, however it came by it.
func leavesNothing(ctx context.Context, be backend.Backend, req backend.LeaveRequest) (backend.LeaveReply, error) {
	got, err := be.Leave(ctx, req)
	for _, name := range req.Names {
		if err == nil && release(ctx, be, req.Namespace, name, req.Token) {
			got.Returned++
		}
	}
	return got, err
}

// keepsClaims unlocks only what was granted at once or renewed.
func keepsClaims() broken {
	var mu sync.Mutex
	waited := map[string]bool{}
	return broken{
		enter: func(ctx context.Context, be backend.Backend, req backend.EnterRequest) (backend.EnterReply, error) {
			got, err := be.Enter(ctx, req)
			mu.Lock()
			defer mu.Unlock()
			waited[req.Owner()] = got.Handover != nil
			return got, err
		},
		prolong: func(ctx context.Context, be backend.Backend, req backend.RenewRequest) (backend.RenewReply, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, it := range req.Items {
				delete(waited, it.Token)
			}
			return be.RenewLocks(ctx, req)
		},
		unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, it := range req.Items {
				if waited[it.Token] {
					return backend.UnlockReply{Unlocked: make([]bool, len(req.Items))}, nil
				}
			}
			return be.Unlock(ctx, req)
		},
	}
}

package backendtest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// brokenUnits share names, count and limit as they should not.
func brokenUnits() []mutant {
	return []mutant{
		{"limits are ignored", "units/limit", broken{
			lock: eachItem(func(_ context.Context, _ backend.Backend, _ *backend.LockRequest, it *backend.LockItem) { it.Limit = 0 }),
		}},
		{"other limits will do", "units/first-limit", broken{
			lock: eachItem(func(ctx context.Context, be backend.Backend, req *backend.LockRequest, it *backend.LockItem) {
				if limit := stateOf(ctx, be, req.Namespace, it.Name).Limit; limit > 0 && it.Limit > 0 {
					it.Limit = limit
				}
			}),
		}},
		{"limits end with the last holder", "unlock/force-keeps-limit", broken{
			unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
				got, err := be.Unlock(ctx, req)
				for i, ok := range got.Unlocked {
					if name := req.Items[i].Member; ok && !stateOf(ctx, be, req.Namespace, name).Locked {
						_ = be.SetLimit(ctx, backend.LimitRequest{Namespace: req.Namespace, Name: name})
					}
				}
				return got, err
			},
		}},
		{"limits cannot be set", "units/set-limit", broken{
			limit: func(_ context.Context, _ backend.Backend, req backend.LimitRequest) error { return req.Validate() },
		}},
		{"a lower limit ends leases", "units/lower-limit", broken{
			limit: func(ctx context.Context, be backend.Backend, req backend.LimitRequest) error {
				err := be.SetLimit(ctx, req)
				if s := stateOf(ctx, be, req.Namespace, req.Name); err == nil && req.Limit > 0 && s.Units > req.Limit {
					release(ctx, be, req.Namespace, req.Name, s.Holders[0].Token)
				}
				return err
			},
		}},
		{"those who share are as good as alone", "units/not-alone", broken{
			lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
				got, err := be.Lock(ctx, req)
				if err != nil || len(got.Grants) > 0 || len(req.Items) != 1 || req.Items[0].Units > 0 {
					return got, err
				}
				if s := stateOf(ctx, be, req.Namespace, req.Items[0].Name); len(s.Holders) == 1 {
					release(ctx, be, req.Namespace, req.Items[0].Name, s.Holders[0].Token)
				}
				return be.Lock(ctx, req)
			},
		}},
		{"holders whose lease ran out count", "units/own-end", broken{
			lock: beforeLock(func(_ context.Context, _ backend.Backend, req *backend.LockRequest) {
				if req.Items[0].Units > 0 && req.TTL < time.Minute {
					req.TTL = backend.NoExpiry
				}
			}),
		}},
		{"shared names end with the first holder", "units/last-end", broken{
			get: func(ctx context.Context, be backend.Backend, req backend.GetRequest) ([]backend.Value, error) {
				got, err := be.Get(ctx, req)
				for i := range got {
					if s := stateOf(ctx, be, req.Namespace, req.Names[i]); len(s.Holders) > 0 {
						got[i].TTL = s.Holders[0].TTL
					}
				}
				return got, err
			},
		}},
		{"all who share end together", "units/together", broken{
			unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
				got, err := be.Unlock(ctx, req)
				for i, ok := range got.Unlocked {
					name := req.Items[i].Member
					for _, h := range stateOf(ctx, be, req.Namespace, name).Holders {
						if ok {
							release(ctx, be, req.Namespace, name, h.Token)
						}
					}
				}
				return got, err
			},
		}},
		{"the value of a shared name is that of its first holder", "units/value", broken{
			get: func(ctx context.Context, be backend.Backend, req backend.GetRequest) ([]backend.Value, error) {
				got, err := be.Get(ctx, req)
				for i := range got {
					if s := stateOf(ctx, be, req.Namespace, req.Names[i]); len(s.Holders) > 0 {
						got[i].Value = s.Holders[0].Token
					}
				}
				return got, err
			},
		}},
		{"SharedToken is a master key", "units/value", broken{
			unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
				req.Force = req.Force || len(req.Items) > 0 && req.Items[0].Token == backend.SharedToken
				return be.Unlock(ctx, req)
			},
		}},
		{"tokens are told apart by their ends", "units/tokens", broken{
			lock: beforeLock(func(_ context.Context, _ backend.Backend, req *backend.LockRequest) {
				for len(req.Token) > 1 && req.Token[0] == '#' {
					req.Token = req.Token[1:]
				}
			}),
		}},
		{"Again is not counted", "again/counted", broken{
			unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
				got, err := be.Unlock(ctx, req)
				for i, ok := range got.Unlocked {
					for ok && release(ctx, be, req.Namespace, req.Items[i].Member, req.Items[i].Token) {
					}
				}
				return got, err
			},
		}},
		{"Again counts what was lost", "again/starts-anew", countsForEver()},
		{"Again takes any number for the same", "again/same-way", broken{
			lock: eachItem(func(ctx context.Context, be backend.Backend, req *backend.LockRequest, it *backend.LockItem) {
				for _, h := range stateOf(ctx, be, req.Namespace, it.Name).Holders {
					if h.Token == req.Token && req.Again && it.Units > 0 {
						it.Units = h.Units
					}
				}
			}),
		}},
		{"Again only lengthens", "again/ttl", broken{
			lock: beforeLock(func(ctx context.Context, be backend.Backend, req *backend.LockRequest) {
				s := stateOf(ctx, be, req.Namespace, req.Items[0].Name)
				if req.Again && s.Owner == req.Token && req.TTL > 0 {
					req.TTL = max(req.TTL, s.TTL)
				}
			}),
		}},
		{"Again waits for its turn", "again/others-wait", broken{
			lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
				for _, it := range req.Items {
					if req.Again && req.Validate() == nil && stateOf(ctx, be, req.Namespace, it.Name).Waiting > 0 {
						return backend.LockReply{}, nil
					}
				}
				return be.Lock(ctx, req)
			},
		}},
		{"downgrade lets go", "again/downgrade-lets-in", broken{lock: downgradeBySteps}},
		{"downgrade forgets how often", "again/downgrade-keeps-count", broken{lock: downgradeBySteps}},
		{"downgrade takes what is free", "again/downgrade-others", broken{
			lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
				got, err := be.Lock(ctx, req)
				if err == nil && req.Downgrade && len(got.Grants) == 0 {
					req.Downgrade = false
					return be.Lock(ctx, req)
				}
				return got, err
			},
		}},
		{"those who wait need not be counted", "lock/holders", broken{
			holders: func(ctx context.Context, be backend.Backend, req backend.HoldersRequest) ([]backend.LockState, error) {
				got, err := be.Holders(ctx, req)
				for i := range got {
					got[i].Waiting = min(got[i].Waiting, 1)
				}
				return got, err
			},
		}},
		{"holders come in any order", "lock/holders", broken{
			holders: func(ctx context.Context, be backend.Backend, req backend.HoldersRequest) ([]backend.LockState, error) {
				got, err := be.Holders(ctx, req)
				for i := range got {
					slices.Reverse(got[i].Holders)
				}
				return got, err
			},
		}},
	}
}

// eachItem changes the items of valid requests.
func eachItem(change func(context.Context, backend.Backend, *backend.LockRequest, *backend.LockItem)) func(context.Context, backend.Backend, backend.LockRequest) (backend.LockReply, error) {
	return beforeLock(func(ctx context.Context, be backend.Backend, req *backend.LockRequest) {
		for i := range req.Items {
			change(ctx, be, req, &req.Items[i])
		}
	})
}

// downgradeBySteps gives names back, and takes units of them as others would.
func downgradeBySteps(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
	if req.Downgrade && req.Validate() == nil {
		for _, it := range req.Items {
			if stateOf(ctx, be, req.Namespace, it.Name).Owner != req.Token {
				return be.Lock(ctx, req)
			}
		}
		for _, it := range req.Items {
			for release(ctx, be, req.Namespace, it.Name, req.Token) {
			}
		}
		req.Downgrade = false
	}
	return be.Lock(ctx, req)
}

// countsForEver counts by itself how often names were granted again.
func countsForEver() broken {
	var mu sync.Mutex
	counts := map[string]int{}
	return broken{
		lock: func(ctx context.Context, be backend.Backend, req backend.LockRequest) (backend.LockReply, error) {
			held := make([]bool, len(req.Items))
			for i, it := range req.Items {
				held[i] = req.Validate() == nil && stateOf(ctx, be, req.Namespace, it.Name).Locked
			}
			got, err := be.Lock(ctx, req)
			mu.Lock()
			defer mu.Unlock()
			for i, g := range got.Grants {
				if req.Again && held[i] {
					counts[g.Member+"|"+g.Token]++
				}
			}
			return got, err
		},
		unlock: func(ctx context.Context, be backend.Backend, req backend.UnlockRequest) (backend.UnlockReply, error) {
			if len(req.Items) == 1 && !req.Force {
				mu.Lock()
				defer mu.Unlock()
				key := req.Items[0].Member + "|" + req.Items[0].Token
				if counts[key] > 0 {
					counts[key]--
					return backend.UnlockReply{Unlocked: []bool{true}}, nil
				}
			}
			return be.Unlock(ctx, req)
		},
	}
}

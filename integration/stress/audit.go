package stress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
	"github.com/redisallocator/redisallocator/pool"
	"github.com/redisallocator/redisallocator/task"
)

// audit goes through the store when nobody works any more: whatever is still held has to run out, and nothing may be left.
func (w *watcher) audit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*w.run.cfg.patience)
	defer cancel()
	begin := time.Now()
	for _, step := range []func(context.Context) error{w.auditLocks, w.auditPools, w.auditTasks} {
		if err := w.insist(ctx, step); err != nil {
			w.add("end", "audit: %v", err)
		}
	}
	w.run.report.Freed = time.Since(begin)
	last := func(ctx context.Context) error { return errors.Join(w.look(ctx), w.auditKeys(ctx)) }
	if err := w.insist(ctx, last); err != nil {
		w.add("end", "audit: %v", err)
	}
}

// insist does something again when the server was away.
func (w *watcher) insist(ctx context.Context, step func(context.Context) error) error {
	_, err := again(ctx, func() (struct{}, error) { return struct{}{}, step(ctx) })
	return err
}

// auditLocks takes all names, and all units of each semaphore, which waits until the dead have none and are out of line, and
// gives them back. Then every name is free, and nobody waits.
func (w *watcher) auditLocks(ctx context.Context) error {
	cfg := lock.Config{TTL: patience, MaxWait: w.run.cfg.patience}
	space := w.locks.space
	takes := []func() (*lock.Held, error){
		func() (*lock.Held, error) {
			return lock.NewMulti(w.be, space, slices.Concat(mutexNames, rwNames), cfg).Lock(ctx)
		},
	}
	for _, s := range semaphores {
		takes = append(takes, func() (*lock.Held, error) {
			return lock.NewSemaphore(w.be, space, s.name, s.units, cfg).Acquire(ctx, s.units)
		})
	}
	for _, take := range takes {
		held, err := take()
		if errors.Is(err, lock.ErrLocked) {
			w.add("end", "nobody works any more, and not every lock can be had within %v", w.run.cfg.patience)
			continue
		}
		if err == nil {
			err = held.Unlock(ctx)
		}
		if err != nil {
			return err
		}
	}
	names := lockNames()
	states, err := w.be.Holders(ctx, backend.HoldersRequest{Namespace: space, Names: names})
	for i, s := range states {
		if s.Locked || s.Waiting > 0 || len(s.Holders) > 0 {
			w.add("end", "lock %s is not free although nobody works any more: %+v", names[i], s)
		}
	}
	return err
}

// auditPools takes all members of each pool at once, which waits until the dead have none, and gives them back.
func (w *watcher) auditPools(ctx context.Context) error {
	if err := w.furnish(ctx); err != nil { // some members were to be there for a second only, or are not there
		return err
	}
	for _, p := range w.pools {
		if p.exclusive {
			if err := w.takeAll(ctx, p.space); err != nil {
				return err
			}
		}
		seen, err := p.look(ctx)
		if err != nil {
			return err
		}
		if is := count(&seen); is.Waiting > 0 || p.exclusive && is.Free != seen.Total {
			w.add("end", "%s: not every member is free although nobody works any more (%s)", p.space, describe(&seen))
		}
	}
	return nil
}

func (w *watcher) takeAll(ctx context.Context, space backend.Namespace) error {
	keys, err := pool.New(w.be, pool.Config[pool.None]{Namespace: space, TTL: patience})
	if err != nil {
		return err
	}
	defer keys.Close()
	n, err := keys.Len(ctx)
	if err != nil || n == 0 {
		return err
	}
	leases, err := keys.AcquireN(ctx, n, pool.MaxWait(w.run.cfg.patience))
	if errors.Is(err, pool.ErrExhausted) {
		w.add("end", "%s: nobody works any more, and not all of %d members come back within %v", space, n, w.run.cfg.patience)
		return nil
	}
	for _, l := range leases {
		err = errors.Join(err, l.Release(ctx))
	}
	return err
}

// auditTasks waits until those who listened and died do not count any more, and compares the numbers of the store with those
// of the ledger.
func (w *watcher) auditTasks(ctx context.Context) error {
	var all backend.QueueStats
	var err error
	for begin := time.Now(); ; pause(ctx, 20*time.Millisecond) {
		if all, err = w.tasks.stats(ctx); err != nil {
			return err
		}
		if all.Listeners == 0 || time.Since(begin) > w.run.cfg.patience {
			break
		}
	}
	if live(&all) > 0 || all.Listeners > 0 {
		w.add("end", "tasks have not ended, or somebody listens, although nobody works any more: %+v", all)
	}
	var dead []string
	for _, q := range queueNames {
		for t, err := range newQueue(w.be, w.tasks.space, q).Dead(ctx) {
			if err != nil {
				return err
			}
			dead = append(dead, t.ID)
		}
	}
	for state, n := range map[task.State]int64{
		task.Done: all.Done, task.Failed: all.Failed, task.Expired: all.Expired, task.Cancelled: all.Cancelled,
		task.Dead: int64(all.Dead),
	} {
		if n != w.books.ended[state] {
			w.add("end", "the store has ended %d tasks as %s, and %d were", n, state, w.books.ended[state])
		}
	}
	if len(dead) != all.Dead {
		w.add("end", "%d tasks are dead, and %d are listed", all.Dead, len(dead))
	}
	for ids := range slices.Chunk(w.books.never, backend.BatchLimit) {
		reply, err := w.be.Tasks(ctx, backend.TasksRequest{Namespace: w.tasks.space, IDs: ids})
		if err != nil {
			return err
		}
		for _, info := range reply.Tasks {
			if info.State != task.Unknown {
				w.add("end", "task %s of a process that has long been dead has come into being: %s", info.ID, standing(&info))
			}
		}
	}
	return nil
}

// auditKeys looks for keys without TTL that nobody has a right to.
func (w *watcher) auditKeys(ctx context.Context) error {
	kept := keptKeys(w.run.spaces)
	var wrong []string
	client := w.run.client
	err := eachKey(ctx, client, w.run.spaces, func(key string) error {
		if strings.HasPrefix(key, w.run.spaces.guard()) {
			return nil
		}
		ttl, err := client.Do(ctx, client.B().Pttl().Key(key).Build()).AsInt64()
		if err == nil && ttl == -1 && !kept[key] {
			wrong = append(wrong, key)
		}
		return err
	})
	if len(wrong) > 0 {
		w.add("key", "without TTL, and in no list of those that stay: %s", some(wrong))
	}
	return err
}

// keptKeys are those that may stay without TTL when nothing is held and nothing is under way, of those that ARCHITECTURE.md
// names: "Keys without TTL". A queue's lanes may hold ids of tasks that do not wait any more, if they are counted as such,
// which every look at the queues sees to.
func keptKeys(s Spaces) map[string]bool {
	kept := make(map[string]bool)
	for _, ns := range s.all() {
		kept[ns.Fence()] = true
	}
	for _, ns := range []backend.Namespace{s.pool(), s.shared(), s.changes()} {
		for _, key := range []string{ns.Pool(), ns.PoolHead(), ns.PoolTail(), ns.PoolCursor()} {
			kept[key] = true
		}
	}
	kept[s.locks().LockLimits()] = true
	for _, q := range queueNames {
		kept[s.tasks().TaskTotals(q)] = true
		kept[s.tasks().TaskGhosts(q)] = true
		for _, class := range []backend.TaskClass{backend.ClassNormal, backend.ClassHigh, backend.ClassLow} {
			kept[s.tasks().TaskLane(q, class)] = true
		}
	}
	return kept
}

// eachKey does something with each key of a run, which it looks for on all servers that there are: those with replicas have it
// more than once.
func eachKey(ctx context.Context, client rueidis.Client, s Spaces, do func(key string) error) error {
	for _, node := range client.Nodes() {
		for cursor := uint64(0); ; {
			page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match("*"+s.Prefix+"*").Count(1000).Build()).AsScanEntry()
			if err != nil {
				return fmt.Errorf("scan: %w", err)
			}
			for _, key := range page.Elements {
				if err := do(key); err != nil {
					return fmt.Errorf("%s: %w", key, err)
				}
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return nil
}

package policy_test

import (
	"context"
	"time"
)

// fakeLease counts on its object's functions and on the pool.
type fakeLease struct {
	pool      *fakePool
	key       string
	object    *thing
	has       bool
	unhealthy time.Duration
	released  bool
	after     []func()
}

func (l *fakeLease) Key() string    { return l.key }
func (l *fakeLease) Object() *thing { return l.object }

func (l *fakeLease) UniqueID() string {
	if l.has && l.object.id != "" {
		return l.key + ":" + l.object.id
	}
	return l.key
}

func (l *fakeLease) Open(ctx context.Context) error {
	if l.has && l.object.open != nil {
		return l.object.open(ctx)
	}
	return nil
}

func (l *fakeLease) Close(context.Context) error {
	if l.has {
		l.object.closed++
	}
	return nil
}

func (l *fakeLease) CheckHealth(ctx context.Context) error {
	if l.has && l.object.check != nil {
		return l.object.check(ctx, l.key)
	}
	return nil
}

func (l *fakeLease) SetHealthy(context.Context) error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	delete(l.pool.kept, l.key)
	return l.pool.err("healthy")
}

func (l *fakeLease) SetUnhealthy(_ context.Context, d time.Duration) error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if err := l.pool.err("unhealthy"); err != nil {
		return err
	}
	l.unhealthy = d
	return nil
}

func (l *fakeLease) Release(ctx context.Context) error {
	_ = l.Close(ctx)
	l.pool.mu.Lock()
	if l.released {
		l.pool.mu.Unlock()
		return nil
	}
	l.released = true
	delete(l.pool.held, l.key)
	if _, kept := l.pool.kept[l.key]; l.unhealthy != 0 || kept {
		l.pool.kept[l.key] = l.unhealthy
	} else {
		l.pool.free = append(l.pool.free, l.key)
	}
	close(l.pool.change)
	l.pool.change = make(chan struct{})
	after := l.after
	err := l.pool.err("release")
	l.pool.mu.Unlock()
	for _, f := range after {
		f()
	}
	return err
}

func (l *fakeLease) AfterRelease(f func()) {
	l.pool.mu.Lock()
	released := l.released
	l.after = append(l.after, f)
	l.pool.mu.Unlock()
	if released {
		f()
	}
}

package pool

import (
	"context"
	"io"
	"time"
)

// closeTimeout bounds the context that an object is closed with.
const closeTimeout = 30 * time.Second

// Open opens the object, if it is an [Opener].
func (l *Lease[T]) Open(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return l.fail("open", errReleased)
	}
	return l.fail("open", l.openObject(ctx))
}

// Close closes the object, if it is a [Closer] or an io.Closer and was not closed since it was configured or opened.
// The lease goes on. It takes values from ctx, but not its end. It does not wait for a Refresh, which has the object closed
// until it has got another member.
func (l *Lease[T]) Close(ctx context.Context) error {
	if heir := l.heir(); heir != nil {
		return heir.Close(ctx)
	}
	return l.fail("close", l.closeObject(ctx))
}

// CheckHealth asks the object, if it is a [HealthChecker]; others are healthy.
func (l *Lease[T]) CheckHealth(ctx context.Context) error {
	if l.traits&checks == 0 {
		return nil
	}
	return l.fail("check", checkHealth(ctx, l.object))
}

func checkHealth(ctx context.Context, obj any) (err error) {
	defer caught("CheckHealth", &err)
	return obj.(HealthChecker).CheckHealth(ctx)
}

func (l *Lease[T]) openObject(ctx context.Context) (err error) {
	l.using.Lock()
	defer l.using.Unlock()
	l.state = opened // also if it fails half way: it wants to be closed
	if l.traits&opens == 0 {
		return nil
	}
	defer caught("Open", &err)
	return any(l.object).(Opener).Open(ctx)
}

func (l *Lease[T]) closeObject(ctx context.Context) (err error) {
	if l.traits&(closes|closesIO) == 0 {
		return nil
	}
	l.using.Lock()
	defer l.using.Unlock()
	if l.state == shut {
		return nil
	}
	l.state = shut
	defer caught("Close", &err)
	if l.traits&closes == 0 {
		return any(l.object).(io.Closer).Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return any(l.object).(Closer).Close(ctx)
}

// objectState is what was done last with the object.
func (l *Lease[T]) objectState() objectState {
	l.using.Lock()
	defer l.using.Unlock()
	return l.state
}

func (l *Lease[T]) setObjectState(s objectState) {
	l.using.Lock()
	defer l.using.Unlock()
	l.state = s
}

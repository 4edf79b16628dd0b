package task

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// progressPace is the least time from one message about progress to the next.
const progressPace = 100 * time.Millisecond

// progress is what is to be sent of an attempt's progress.
type progress struct {
	mu      sync.Mutex
	latest  []byte // not sent yet
	flying  []byte // in the call that is under way
	sending bool   // there is one, or the timer runs
	sent    time.Time
	timer   *time.Timer
	over    bool
}

// tell takes up a message. It does not block.
func (a *attempt) tell(p Progress) error {
	data, err := json.Marshal(p)
	if most := a.queue.core.cfg.MaxSize; err == nil && len(data) > most {
		err = fmt.Errorf("%w: progress of %d bytes, %d are allowed", ErrTooLarge, len(data), most)
	}
	if err != nil {
		return fail("progress of", a.info.ID, err)
	}
	g := a.telling()
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return nil
	}
	if g.latest = data; !g.sending {
		g.sending = true
		g.after(max(progressPace-time.Since(g.sent), 0), a.push)
	}
	return nil
}

// telling gives what is to be sent of the attempt's progress; nil if nothing is any more.
func (a *attempt) telling() *progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.progress == nil && !a.returned && !a.abandoned {
		a.progress = new(progress)
	}
	return a.progress
}

// after has push called, on a goroutine of its own.
func (g *progress) after(wait time.Duration, push func()) {
	if g.timer == nil {
		g.timer = time.AfterFunc(wait, push)
	} else {
		g.timer.Reset(wait)
	}
}

// push sends what is the latest then.
func (a *attempt) push() {
	s, g := a.server, a.telling()
	g.mu.Lock()
	if g.over {
		g.mu.Unlock()
		return
	}
	s.mu.Lock()
	s.busy++
	s.mu.Unlock()
	data := g.latest
	g.latest, g.flying, g.sent = nil, data, time.Now()
	g.mu.Unlock()

	items := []backend.TaskReport{a.report(backend.ReportProgress, data)}
	_, err := s.be.Report(s.reports, backend.ReportRequest{Namespace: s.ns, Items: items})

	g.mu.Lock()
	g.flying = nil
	wait := progressPace
	if err != nil {
		wait = maxRetry
		if g.latest == nil {
			g.latest = data
		}
	}
	if g.sending = g.latest != nil && !g.over; g.sending {
		g.after(wait, a.push)
	}
	g.mu.Unlock()
	if err != nil {
		a.queue.logger.Debug("progress not reported, trying again", a.attrs("error", err)...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	s.freed()
}

// hush ends that when the handler has returned or was abandoned, and gives what is still to be said: nobody knows whether
// a call that is under way comes in time.
func (a *attempt) hush() []byte {
	g := a.telling()
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	if g.timer != nil {
		g.timer.Stop()
	}
	if g.latest != nil {
		return g.latest
	}
	return g.flying
}

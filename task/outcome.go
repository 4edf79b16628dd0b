package task

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// payloadError says that there was nothing to give to a handler, resultError that what it gave cannot be sent.
type (
	payloadError struct{ error }
	resultError  struct{ error }
)

func (e *payloadError) Unwrap() error { return e.error }
func (e *resultError) Unwrap() error  { return e.error }

// verdict is what becomes of an attempt.
type verdict struct {
	kind  backend.ReportKind // 0: there is nothing to say, because the task is not ours any more
	data  []byte
	after time.Duration
	event backend.EventKind
	err   error

	hopeless bool // because of what it is, not of what happened
}

// maxMessage is the longest message of an error that is sent, in bytes.
const maxMessage = 8 << 10

// verdict decides. cause is why the context has ended, if it has.
func (a *attempt) verdict(cause error) verdict {
	switch {
	case cause == nil, errors.Is(cause, ErrDrained) && !a.abandoned && a.err == nil:
		if a.err == nil {
			return verdict{kind: backend.ReportDone, data: a.result, event: backend.EventDone}
		}
		return a.failure(a.err)
	case errors.Is(cause, ErrTimeout):
		return a.failure(tookTooLong(a.meta.AttemptTimeout))
	case errors.Is(cause, ErrDrained):
		return verdict{kind: backend.ReportReturn, event: backend.EventReleased, err: cause}
	default:
		return verdict{event: backend.EventLost, err: cause}
	}
}

// failure decides about an attempt that has failed.
func (a *attempt) failure(err error) verdict {
	e, after := wire(err)
	v := verdict{kind: backend.ReportFailed, event: backend.EventFailed, err: err}
	failed := max(a.info.Attempts-a.info.Deaths, 1)
	switch err.(type) { //nolint:errorlint // nobody wraps them, and errors.As would ask what a handler has returned
	case *payloadError:
		v.kind, v.hopeless, e = backend.ReportDead, true, Error{Code: CodePayload, Message: e.Message}
	case *resultError:
		v.hopeless, e = true, Error{Code: CodeResult, Message: e.Message}
	}
	switch {
	case v.kind == backend.ReportDead:
	case !e.Retryable || a.meta.Retries == 0:
	case failed > a.meta.Retries:
		v.kind = backend.ReportDead
	default:
		v.kind, v.event, v.after = backend.ReportRetry, backend.EventRetried, after
		if after < 0 {
			v.after = a.pause(failed, err)
		}
	}
	if len(e.Message) > maxMessage {
		e.Message = strings.ToValidUTF8(e.Message[:maxMessage], "") + "..."
	}
	v.data = encodeError(e)
	return v
}

// pause is how long the next attempt waits.
func (a *attempt) pause(failed int, err error) (d time.Duration) {
	defer func() {
		if p := recover(); p != nil {
			a.queue.logger.Error("backoff panicked", a.attrs("panic", p)...)
			d = defaultBackoff(failed, err)
		}
	}()
	return max(a.queue.core.cfg.Backoff(failed, err), 0)
}

// tellEnd tells the store how the attempt has ended, and the rest of the world.
func (a *attempt) tellEnd(v verdict) {
	defer a.settled()
	log := a.queue.logger
	var trouble error
	var ended bool // the task was, while we had it: it was cancelled, or expired
	switch v.kind {
	case 0:
		a.hush()
		a.hold.Finish()
	case backend.ReportReturn:
		a.hush()
		trouble = a.hold.Release(a.server.base)
	default:
		trouble = a.send(v.kind, v.data, v.after)
		ended = errors.Is(trouble, ErrLost) && !errors.Is(a.hold.Err(), lease.ErrExpired)
		a.hold.Finish()
	}
	switch {
	case ended:
		log.Debug("task has ended meanwhile", a.attrs("outcome", v.err)...)
		v.event, v.err = backend.EventLost, trouble
	case trouble != nil:
		log.Warn("end of an attempt was not accepted", a.attrs("error", trouble, "outcome", v.err)...)
		v.event, v.err = backend.EventLost, trouble
	case v.kind == 0:
		log.Debug("task is not ours any more", a.attrs("cause", v.err)...)
	case v.hopeless:
		log.Warn("task cannot be done", a.attrs("error", v.err)...)
	}
	a.observe(backend.Event{Kind: v.event, Err: v.err})
}

// send reports the end of the attempt, and what was last said of its progress, while the lease lasts.
func (a *attempt) send(kind backend.ReportKind, data []byte, after time.Duration) error {
	s := a.server
	last := a.report(kind, data)
	last.After = after
	items := []backend.TaskReport{last}
	if said := a.hush(); said != nil {
		items = []backend.TaskReport{a.report(backend.ReportProgress, said), last}
	}
	req := backend.ReportRequest{Namespace: s.ns, Items: items}
	for failed := 1; ; failed++ {
		reply, err := s.be.Report(s.reports, req)
		switch {
		case err == nil && len(reply.Accepted) == len(req.Items) && reply.Accepted[len(req.Items)-1]:
			return nil
		case err == nil:
			return ErrLost
		case !errors.Is(err, backend.ErrUnavailable) || !a.hold.Valid():
			return err
		}
		wait := time.NewTimer(backoff(failed))
		select {
		case <-wait.C:
		case <-s.reports.Done():
			wait.Stop()
			return fmt.Errorf("%w: %w", context.Cause(s.reports), err)
		}
	}
}

func (a *attempt) report(kind backend.ReportKind, data []byte) backend.TaskReport {
	return backend.TaskReport{ID: a.info.ID, Token: a.token, Kind: kind, Data: data}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/lock"
)

// Report is what is made.
type Report struct {
	ID    string        `json:"id"`
	Took  time.Duration `json:"took"`
	Maker string        `json:"maker"` // the lock's token, which says which process that was
}

// A job makes a report, until ctx ends.
type job func(ctx context.Context, id string) (Report, error)

// report is a job that takes a while.
func report(work time.Duration) job {
	return func(ctx context.Context, id string) (Report, error) {
		select {
		case <-time.After(work):
			return Report{ID: id, Took: work}, nil
		case <-ctx.Done():
			return Report{}, context.Cause(ctx)
		}
	}
}

type service struct {
	locks *lock.Redlock
	make  job
}

func newService(locks *lock.Redlock, make job) http.Handler {
	s := &service{locks: locks, make: make}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reports/{id}", s.post)
	return mux
}

func (s *service) post(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	made, err := s.makeAlone(r.Context(), id)
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(made)
	case r.Context().Err() != nil: // the client has gone, or so will we
		http.Error(w, "not finished", http.StatusServiceUnavailable)
	case errors.Is(err, backend.ErrInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, lock.ErrLocked):
		w.Header().Set("Retry-After", "2")
		http.Error(w, fmt.Sprintf("report %q is being made", id), http.StatusLocked)
	case errors.Is(err, lock.ErrNoQuorum), errors.Is(err, lock.ErrNotHeld),
		errors.Is(err, lock.ErrLost), errors.Is(err, lock.ErrExpired):
		slog.Warn("report not made", "id", id, "error", err)
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the locks are not available", http.StatusServiceUnavailable)
	default:
		slog.Error("report not made", "id", id, "error", err)
		http.Error(w, "the report could not be made", http.StatusInternalServerError)
	}
}

// makeAlone makes a report under its lock. The job's context ends when the lock is lost, before anybody else gets it.
func (s *service) makeAlone(ctx context.Context, id string) (made Report, err error) {
	held, err := s.locks.Lock(ctx, id)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		// The report is made, whatever becomes of the lock now: what is not given back runs out.
		if err := held.Unlock(ctx); err != nil {
			slog.Warn("lock not given back", "id", id, "error", err)
		}
	}()
	for _, missing := range held.Errs() {
		slog.Info("locked without", "server", missing.Name, "error", missing.Err)
	}
	made, err = s.make(held.Context(), id)
	made.Maker = held.Token()
	return made, err
}

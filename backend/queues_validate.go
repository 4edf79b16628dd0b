package backend

import (
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// Digest says in 22 characters which queue and payload a request has: requests under one id that have the same are the
// same. It is empty for a Fresh request.
func (r *SubmitRequest) Digest() string {
	if r.Fresh {
		return ""
	}
	h := sha256.New()
	_, _ = h.Write([]byte(r.Queue))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(r.Payload)
	var sum [sha256.Size]byte
	return base64.RawURLEncoding.EncodeToString(h.Sum(sum[:0])[:16])
}

// Validate checks the request; see [InvalidError].
func (r *SubmitRequest) Validate() error {
	if err := first(r.Namespace.Validate(), checkName("queue", r.Queue), checkName("id", r.ID)); err != nil {
		return err
	}
	switch {
	case len(r.Payload) > MaxTaskData:
		return tooLong("payload", len(r.Payload))
	case len(r.Meta) > MaxTaskData:
		return tooLong("meta", len(r.Meta))
	case r.Class >= taskClasses:
		return checkCount("class", int(r.Class), 0, int(taskClasses)-1)
	case r.Delay < 0:
		return invalid("delay", r.Delay.String(), "must not be negative")
	case r.Timeout <= r.Delay && r.Delay > 0:
		return invalid("timeout", r.Timeout.String(), "must be more than the delay")
	case r.MaxDeaths < 1 || r.MaxDeaths > MaxDeaths:
		return checkCount("deaths", r.MaxDeaths, 1, MaxDeaths)
	case r.Graveyard != 0 && r.Graveyard < time.Millisecond:
		return invalid("graveyard", r.Graveyard.String(), "must be at least a millisecond")
	case len(r.Forget) > 0:
		if err := first(checkCount("forget", len(r.Forget), 0, MaxForget), checkIDs(r.Forget)); err != nil {
			return err
		}
	}
	if err := checkSpan("timeout", r.Timeout); err != nil {
		return err
	}
	return checkSpan("retention", r.Retention)
}

// Validate checks the request; see [InvalidError].
func (r *WatchRequest) Validate() error {
	return first(r.Namespace.Validate(), checkName("id", r.ID))
}

// Validate checks the request; see [InvalidError].
func (r *FetchRequest) Validate() error {
	if err := first(r.Namespace.Validate(), checkName("listener", r.Listener), ValidateToken(r.Token),
		checkSpan("ttl", r.TTL), checkSpan("mark", r.Mark), checkCount("max", r.Max, 0, BatchLimit),
		checkCount("queues", len(r.Queues), 1, MaxListened), checkCount("lanes", len(r.Lanes), 0, MaxLanes)); err != nil {
		return err
	}
	for i := range r.Queues {
		q := &r.Queues[i]
		if err := first(checkName("queue", q.Name), checkCount("room", q.Room, 0, BatchLimit)); err != nil {
			return err
		}
		for j := range i {
			if r.Queues[j].Name == q.Name {
				return invalid("queue", q.Name, "is there twice")
			}
		}
	}
	for i := range r.Lanes {
		l := &r.Lanes[i]
		if err := first(checkCount("lane", l.Queue, 0, len(r.Queues)-1), checkCount("class", int(l.Class), 0, int(taskClasses)-1),
			checkCount("lane", l.Max, 1, BatchLimit)); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the request; see [InvalidError].
func (r *ReportRequest) Validate() error {
	if err := first(r.Namespace.Validate(), checkBatch("items", len(r.Items))); err != nil {
		return err
	}
	for i := range r.Items {
		it := &r.Items[i]
		if err := first(checkName("id", it.ID), ValidateToken(it.Token)); err != nil {
			return err
		}
		switch {
		case it.Kind < ReportProgress || it.Kind > ReportReturn:
			return invalid("report", itoa(int(it.Kind)), "is unknown")
		case len(it.Data) > MaxTaskData:
			return tooLong("data", len(it.Data))
		case it.After < 0 || it.After > 0 && it.Kind != ReportRetry:
			return invalid("after", it.After.String(), "must not be negative, and is for retries")
		}
	}
	return nil
}

// Validate checks the request; see [InvalidError].
func (r *TaskEdit) Validate() error {
	if err := r.Namespace.Validate(); err != nil {
		return err
	}
	switch r.Action {
	case TasksCancel, TasksRemove, TasksRevive:
		return first(checkBatch("ids", len(r.IDs)), checkIDs(r.IDs))
	case QueuePause, QueueResume:
		return first(checkName("queue", r.Queue), checkCount("ids", len(r.IDs), 0, 0))
	default:
		return invalid("action", itoa(int(r.Action)), "is unknown")
	}
}

// Validate checks the request; see [InvalidError].
func (r *TasksRequest) Validate() error {
	if err := first(r.Namespace.Validate(), checkCount("limit", r.Limit, 0, BatchLimit)); err != nil {
		return err
	}
	if len(r.IDs) > 0 {
		return first(checkBatch("ids", len(r.IDs)), checkIDs(r.IDs))
	}
	switch r.State {
	case TaskScheduled, TaskWaiting, TaskRunning, TaskDead:
		return checkName("queue", r.Queue)
	default:
		return invalid("state", r.State.String(), "cannot be listed")
	}
}

// Validate checks the request; see [InvalidError].
func (r *StatsRequest) Validate() error {
	return first(r.Namespace.Validate(), checkName("queue", r.Queue))
}

func checkIDs(ids []string) error {
	for _, id := range ids {
		if err := checkName("id", id); err != nil {
			return err
		}
	}
	return nil
}

// checkSpan accepts what may be the length of something that has an end.
func checkSpan(field string, d time.Duration) error {
	if d < time.Millisecond {
		return invalid(field, d.String(), "must be at least a millisecond")
	}
	return nil
}

func tooLong(field string, n int) error {
	return &InvalidError{Field: field, Value: itoa(n) + " bytes", Reason: "is longer than " + itoa(MaxTaskData)}
}

package task

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

// submission is a task about to be submitted.
type submission struct {
	req     backend.SubmitRequest
	meta    meta
	class   Class
	policy  Policy
	once    bool
	named   bool // by the caller
	limited bool // an attempt timeout was given
}

// meta is what the worker has to know of a task besides its payload. The zero value travels as nothing.
type meta struct {
	Codec          string        `json:"codec,omitempty"` // if it is not JSON
	Retries        int           `json:"retries,omitempty"`
	AttemptTimeout time.Duration `json:"attempt_timeout,omitempty"` // nanoseconds
}

func (m *meta) encode() []byte {
	if *m == (meta{}) {
		return nil
	}
	data, _ := json.Marshal(m) // strings and numbers
	return data
}

func decodeMeta(data []byte) (meta, error) {
	if len(data) == 0 {
		return meta{}, nil
	}
	var m meta
	err := json.Unmarshal(data, &m)
	return m, err
}

// submission gives what the options say.
func (q *core) submission(policy Policy, opts []Option) (*submission, error) {
	if q.broken != nil {
		return nil, q.broken
	}
	s := &submission{
		req: backend.SubmitRequest{
			Namespace: q.ns, Queue: q.name, Retention: q.cfg.Retention, Graveyard: q.cfg.Graveyard, MaxDeaths: q.cfg.MaxDeaths,
		},
		meta:   meta{Retries: q.cfg.Retries, AttemptTimeout: q.cfg.AttemptTimeout},
		policy: policy,
	}
	for _, o := range opts {
		o.apply(s)
	}
	if !s.named {
		s.req.ID, s.req.Fresh = backend.NewToken(), true
	}
	if s.req.Timeout == 0 {
		s.req.Timeout = s.req.Delay + q.cfg.Timeout
	}
	if name := q.cfg.Codec.Name(); name != JSON.Name() {
		s.meta.Codec = name
	}
	s.req.Meta = s.meta.encode()
	switch s.class {
	case Normal:
	case High:
		s.req.Class = backend.ClassHigh
	case Low:
		s.req.Class = backend.ClassLow
	default:
		return nil, invalid("class", "other than Normal, High, Low", "is unknown")
	}
	if s.policy > Auto {
		return nil, invalid("policy", "other than those of this package", "is unknown")
	}
	if s.meta.Retries < 0 {
		return nil, invalid("retries", "negative", "must not be negative")
	}
	if err := checkSpan("attempt timeout", s.meta.AttemptTimeout, !s.limited); err != nil {
		return nil, err
	}
	return s, s.req.Validate()
}

// encodeInto gives the submission its payload.
func (q *core) encodeInto(s *submission, params any) (err error) {
	s.req.Payload, err = q.cfg.encode("payload", params)
	return err
}

// submit sends it.
func (q *core) submit(ctx context.Context, s *submission) (backend.SubmitReply, error) {
	s.req.Forget = q.done.some()
	reply, err := q.be.Submit(ctx, s.req)
	if err == nil && reply.Created {
		lease.Observe(q.cfg.Observer, q.cfg.Logger, backend.Event{Kind: backend.EventSubmitted, Namespace: q.ns, Member: s.req.ID})
	}
	return reply, err
}

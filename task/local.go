package task

import "context"

// runLocal does a task in this process.
func (q *Queue[P, R]) runLocal(ctx context.Context, params P, s *submission) (res R, err error) {
	if q.local == nil {
		return res, ErrNoLocal
	}
	return res, ErrNoLocal
}

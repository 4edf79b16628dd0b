package stress

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// WatchConfig describes a watch over a pool that others use.
type WatchConfig struct {
	URL       string // of the server, as for backend/rueidis.Open
	Namespace backend.Namespace
	Duration  time.Duration

	Members int  // that it must have all the time; 0: any number
	Shared  bool // members go round, and may be locked while they are free

	// Log is where violations are shown at once. Default: nowhere.
	Log io.Writer
}

// Watch looks at a pool that others use, ten times a second, and changes nothing. A large pool is looked at less often, so that
// looking takes no more than a twentieth of the server's time. It blocks until the duration is over or ctx ends. The error says why
// nothing could be seen; a key of the wrong type, for which nothing can, is a violation.
func Watch(ctx context.Context, cfg WatchConfig) (*Report, error) {
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	be, err := connect(ctx, cfg.URL, false)
	if err != nil {
		return nil, err
	}
	defer be.Close()
	over, cancel := context.WithTimeout(ctx, cfg.Duration)
	defer cancel()
	ctx = context.WithoutCancel(ctx) // a look that was begun is finished, which takes no longer than a call
	f := newFindings(cfg.Log)
	p := &poolWatch{findings: f, be: be, space: cfg.Namespace, exclusive: !cfg.Shared, count: cfg.Members}
	line := &lineWatch{findings: f, be: be, space: cfg.Namespace}
	report := new(Report)
	for first := true; first || over.Err() == nil; first = false {
		began := time.Now()
		seen, err := p.look(ctx)
		if err == nil {
			err = line.look(ctx)
		}
		switch {
		case err == nil:
			report.Looks++
			members := count(&seen)
			report.Members = &members
		case errors.Is(err, backend.ErrWrongType):
			f.add("pool", "%v", err)
			report.Looks++
		case errors.Is(err, backend.ErrUnavailable) && report.Looks > 0:
			report.Missed++
		default:
			return nil, err
		}
		pause(over, max(lookPause, 20*time.Since(began)))
	}
	report.Worked = time.Since(f.begin)
	report.Violations, report.Violated = f.all()
	return report, nil
}

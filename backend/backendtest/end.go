package backendtest

import (
	"errors"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var endCases = []Case{
	{
		Name:     "waits",
		Sentence: "Close ends all waits with ErrClosed.",
		check: func(r *room) {
			r.extend("a")
			r.one("0")
			r.has("0", "x")
			ws := append(r.line("1", "2", "3"), r.waitsFor("x", "4", "5")...)
			ws = append(ws, r.waits("6", append(units("y", 1, 0), alone("x")...)))
			r.close()
			for _, w := range ws {
				select {
				case h := <-w.handover:
					r.fails("the wait of "+w.token, h.Err, backend.ErrClosed)
					r.equal("number of grants", len(h.Grants), 0)
				case <-time.After(patience):
					r.Fatalf("the wait of %s goes on after Close", w.token)
				}
			}
		},
	},
	{
		Name:     "calls",
		Sentence: "Calls after Close get ErrClosed; Close again does nothing.",
		check: func(r *room) {
			r.extend("a")
			r.close()
			for name, call := range r.calls(r.ns) {
				r.fails(name+" after Close", call(r.ctx), backend.ErrClosed)
			}
			r.close()
		},
	},
	{
		Name:     "running",
		Sentence: "Close while calls are running: they end, with success or with ErrClosed.",
		check: func(r *room) {
			r.extend(numbered(4)...)
			begun := make(chan struct{}, 8)
			done := make(chan struct{})
			go func() {
				defer close(done)
				r.crowd(8, func(int, *holders) error {
					for round := range 1_000_000 {
						if round == 5 {
							begun <- struct{}{}
						}
						got, err := r.be.Take(r.ctx, r.filled(backend.TakeRequest{Token: backend.NewToken()}))
						if err == nil && len(got.Grants) > 0 {
							_, err = r.be.Return(r.ctx, backend.ReturnRequest{Namespace: r.ns, Items: held(got.Grants)})
						}
						if errors.Is(err, backend.ErrClosed) {
							return nil
						}
						if err != nil {
							return err
						}
					}
					return errors.New("calls go on after Close")
				})
			}()
			for range 8 {
				select {
				case <-begun:
				case <-done:
				}
			}
			r.close()
			select {
			case <-done:
			case <-time.After(patience):
				r.Fatalf("calls go on %v after Close", patience)
			}
		},
	},
}

func (r *room) close() {
	r.tb.Helper()
	r.poolless = true
	r.ok(r.be.Close(), "Close")
}

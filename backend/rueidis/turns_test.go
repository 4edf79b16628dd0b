package rueidis

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestTurnsInBadWeather has many take turns while connections are cut, held up and refused, and waits are given up. No
// member is ever two holders' at a time, everybody who stays gets a turn, and in the end nothing is left over.
func TestTurnsInBadWeather(t *testing.T) {
	t.Parallel()
	r := newRoom(t, redistest.URL(t))
	quiet := r.process(r.url)
	r.extend(quiet, members(3)...)
	var nodes [4]*Backend
	var proxies [4]*redistest.Proxy
	for i := range nodes {
		proxies[i] = redistest.NewProxy(t, addr(t, r.url))
		nodes[i] = r.impatient(proxies[i].URL(), 500*time.Millisecond)
	}

	stop := make(chan struct{})
	var weather sync.WaitGroup
	weather.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			p := proxies[rand.IntN(len(proxies))]
			p.Resume()
			switch rand.IntN(4) {
			case 0:
				p.Cut()
			case 1:
				p.Refuse()
			case 2:
				p.Hold(redistest.Both)
			}
		}
	})

	s := &shift{room: r, holders: make(map[string]string)}
	end := time.Now().Add(3 * time.Second)
	together(32, func(i int) {
		for time.Now().Before(end) {
			s.turn(nodes[i%len(nodes)], i%3 == 0)
		}
	})
	close(stop)
	weather.Wait()
	for _, p := range proxies {
		p.Resume()
	}
	t.Logf("%d turns, %d waits given up", s.turns.Load(), s.given.Load())
	assert.Positive(t, s.turns.Load())
	assert.Empty(t, s.broken)

	together(32, func(i int) { // everybody gets one more
		for !s.turn(nodes[i%len(nodes)], false) {
		}
	})
	r.clean(quiet)
}

// shift is who has what, as the holders see it.
type shift struct {
	*room
	turns, given atomic.Int64

	mu      sync.Mutex
	holders map[string]string
	broken  []string
}

// turn acquires one member, looks whether somebody else has it, and gives it back. A hasty one may give up before.
func (s *shift) turn(b *Backend, hasty bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	if hasty {
		ctx, cancel = context.WithTimeout(context.Background(), rand.N(30*time.Millisecond))
	}
	defer cancel()
	token := backend.NewToken()
	req := s.request(token)
	got, err := b.Enter(ctx, backend.EnterRequest{Take: req, ClaimTTL: time.Second})
	if err != nil {
		assert.True(s, hasty || errors.Is(err, backend.ErrUnavailable), "%v", err)
		return false
	}
	grants := got.Grants
	if got.Handover != nil {
		select {
		case h := <-got.Handover:
			if !assert.NoError(s, h.Err) || !s.renew(b, h.Grants...) {
				return false
			}
			grants = h.Grants
		case <-ctx.Done():
			assert.True(s, hasty, "somebody who stays in line is not served")
			s.given.Add(1)
			_, _ = b.Leave(context.Background(), backend.LeaveRequest{Namespace: s.ns, Token: token})
			return false
		}
	}
	member := grants[0].Member
	s.mu.Lock()
	if other := s.holders[member]; other != "" {
		s.broken = append(s.broken, member+" is "+other+"'s and "+token+"'s")
	}
	s.holders[member] = token
	s.mu.Unlock()
	s.turns.Add(1)
	s.mu.Lock()
	delete(s.holders, member)
	s.mu.Unlock()
	s.giveBack(b, grants...)
	return true
}

package rueidis

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestNoStepIsLong puts more in the way of a take than one step may put right: it takes several.
func TestNoStepIsLong(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newRoom(t, s.URL())
	b := r.process(s.URL())
	const n = 20_000
	for name, block := range map[string]func(all []string){
		"expired": func(all []string) {
			r.each(all, func(m string) []string {
				value, err := r.do("HGET", r.ns.Pool(), m).ToString()
				require.NoError(t, err)
				return []string{"HSET", r.ns.Pool(), m, value[:strings.LastIndex(value, "||")] + "||1"}
			})
		},
		"locked": func(all []string) {
			r.each(all, func(m string) []string { return []string{"SET", r.ns.Lock(m), "by hand"} })
		},
		"lapsed": func(all []string) {
			for part := range slices.Chunk(all, backend.MaxTake) {
				r.take(b, part[0], len(part), time.Hour)
			}
			r.each(all, func(m string) []string { return []string{"DEL", r.ns.Lock(m)} })
			r.each(all, func(m string) []string { return []string{"ZADD", r.ns.Leases(), "1", m} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.ns.Suffix = name
			all := members(n)
			r.extend(b, all...)
			block(all)
			count := 1
			if name == "lapsed" {
				count = backend.MaxTake
			} else {
				r.extend(b, "last")
			}
			r.do("CONFIG", "RESETSTAT")
			got, err := b.Take(t.Context(), backend.TakeRequest{Namespace: r.ns, Token: "t", TTL: time.Hour, Count: count})
			require.NoError(t, err)
			require.Len(t, got.Grants, count)
			if name == "lapsed" {
				require.GreaterOrEqual(t, r.scripts(), count/200)
			} else {
				require.GreaterOrEqual(t, r.scripts(), n/200)
			}
			pool := r.sound(b)
			switch name {
			case "expired":
				require.Equal(t, 1, pool.Total)
			case "locked":
				require.Empty(t, free(pool))
			}
			entered, err := b.Enter(t.Context(), backend.EnterRequest{Take: backend.TakeRequest{
				Namespace: r.ns, Token: "w", TTL: time.Hour, Count: backend.MaxTake,
			}})
			require.NoError(t, err)
			require.Equal(t, name == "lapsed", len(entered.Grants) > 0)
			_, err = b.Leave(t.Context(), backend.LeaveRequest{Namespace: r.ns, Token: "w"})
			require.NoError(t, err)
		})
	}
}

// each sends a command for each member, many at once.
func (r *room) each(members []string, command func(string) []string) {
	r.Helper()
	for part := range slices.Chunk(members, 1000) {
		commands := make(rueidis.Commands, len(part))
		for i, m := range part {
			words := command(m)
			commands[i] = r.raw.B().Arbitrary(words[0]).Keys(words[1]).Args(words[2:]...).Build()
		}
		for _, reply := range r.raw.DoMulti(r.Context(), commands...) {
			require.NoError(r, reply.Error(), fmt.Sprint(part[0]))
		}
	}
}

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
	"github.com/redisallocator/redisallocator/pool"
)

const garbageMembers = 12

// litter writes garbage into a pool's keys. Some of it is to be taken away again by the function returned.
func litter(t *testing.T, cli *redisCLI, ns backend.Namespace) (what string, sweep func()) {
	some := func() string { return members(garbageMembers)[rand.IntN(garbageMembers)] }
	set := func(key string) {
		value := []string{"", "nobody", "garbage", backend.Allocated, some(), "-1", "1e9"}[rand.IntN(7)]
		what = "SET " + key + " " + value
		cli.must(t, "SET", key, value)
	}
	sweep = func() {}
	switch rand.IntN(14) {
	case 0:
		set(ns.PoolHead())
	case 1:
		set(ns.PoolTail())
	case 2:
		set(ns.PoolCursor())
	case 3:
		set(ns.Fence())
	case 4:
		set(ns.LineSequence())
	case 5, 6: // links that lead nowhere, or round and round
		member := some()
		value := []string{
			"", "garbage", "||||-1", "nobody||nobody||-1", some() + "||" + some() + "||-1", member + "||" + member + "||-1",
			backend.Allocated + "||" + some() + "||-1", some() + "||" + backend.Allocated + "||-1", "||||soon", "||", "a||b||c||d",
		}[rand.IntN(11)]
		what = "HSET " + member + " " + value
		cli.must(t, "HSET", ns.Pool(), member, value)
	case 7:
		what = "a lease of nobody"
		cli.must(t, "ZADD", ns.Leases(), strconv.Itoa(rand.IntN(2)), "nobody")
	case 8:
		what = "a deadline that is wrong"
		cli.must(t, "ZADD", ns.Leases(), []string{"-inf", "0", "+inf", "1e300", "17"}[rand.IntN(5)], some())
	case 9:
		what = "a deadline that is missing"
		cli.must(t, "ZREM", ns.Leases(), some())
	case 10:
		what = "a ghost in line"
		cli.must(t, "ZADD", ns.Line(), []string{"-inf", "0", "1e300"}[rand.IntN(3)], "ghost")
		if rand.IntN(2) == 0 {
			cli.must(t, "HSET", ns.LineRequests(), "ghost", []string{"", "garbage", "\x93\x01\x02\x03"}[rand.IntN(3)])
		}
	case 11:
		what = "a process that lives for ever"
		cli.must(t, "ZADD", ns.LineProcesses(), "+inf", "ghost")
	case 12:
		reply := cli.must(t, "PUBSUB", "CHANNELS", ns.WakeChannel("*"))
		channels, err := reply.AsStrSlice()
		require.NoError(t, err)
		for _, channel := range channels {
			message := []string{"", "garbage", "1:G", "1:G5:ghost", "1:G999999999999:x", "1:F5:ghost1:x", "9:"}[rand.IntN(7)]
			what = "message " + message
			cli.must(t, "PUBLISH", channel, message)
		}
	case 13: // the wrong type, for a moment
		key := []string{ns.Leases(), ns.Line(), ns.LineRequests(), ns.LineProcesses(), ns.Fence(), ns.PoolHead()}[rand.IntN(6)]
		what = "wrong type of " + key
		aside := ns.Prefix + "-aside"
		const away = `
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
redis.call('RPUSH', KEYS[1], 'garbage')`
		const back = `
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end`
		cli.must(t, "EVAL", away, "2", key, aside)
		sweep = func() { cli.must(t, "EVAL", back, "2", key, aside) }
	}
	return what, sweep
}

// TestGarbageIsMended litters the keys of a pool while processes use it. Nobody gets what somebody else has, errors are
// those of the contract, and afterwards a collection puts everything right.
func TestGarbageIsMended(t *testing.T) {
	t.Parallel()
	done := busily(t)
	url, ns, ctx := redistest.URL(t), newNamespace(t), context.Background()
	be, cli := open(t, url), raw(t, url)
	keys := newPool(t, be, pool.Config[pool.None]{Namespace: ns})
	require.NoError(t, keys.Extend(ctx, members(garbageMembers)))
	var processes []*process
	for range 3 {
		processes = append(processes, start(t, "mixed", mixedArgs{
			URL: url, Namespace: ns, TTL: renewedTTL, Garbage: true,
		}))
	}
	over, stop := context.WithTimeout(ctx, scaled(t, 3*time.Second))
	defer stop()
	pieces := make(map[string]int)
	var last []string
	n := 0
	for over.Err() == nil {
		what, sweep := litter(t, cli, ns)
		pieces[what]++
		n++
		if last = append(last, what); len(last) > 5 {
			last = last[1:]
		}
		pause(over, briefly())
		sweep()
		pause(over, briefly())
	}
	var sum mixedReport
	for _, p := range processes {
		p.say("stop")
	}
	for _, p := range processes {
		for range 4 {
			var did mixedReport
			p.hear(&did)
			assert.Empty(t, did.Problem)
			sum.Ours += did.Ours
			sum.Refused += did.Refused
		}
	}
	done()
	began := time.Now()
	var left []string
	for time.Since(began) < patience {
		_, err := keys.GC(ctx, garbageMembers)
		require.NoError(t, err)
		seen := look(t, be, ns)
		assert.Equal(t, garbageMembers, seen.Total)
		if left = leftovers(seen); len(left) == 0 {
			break
		}
		pause(ctx, 10*time.Millisecond)
	}
	assert.Empty(t, left, fmt.Sprintf("last: %q", last))
	took := time.Since(began)
	all, err := keys.MallocN(ctx, garbageMembers)
	require.NoError(t, err)
	for _, l := range all {
		require.NoError(t, l.Release(ctx))
	}
	assert.Positive(t, sum.Ours)
	t.Logf("%d pieces of garbage, %d kinds; %d leases meanwhile, %d failed, as for a wrong type; right after %v", n, len(pieces),
		sum.Ours, sum.Refused, took.Round(time.Millisecond))
}

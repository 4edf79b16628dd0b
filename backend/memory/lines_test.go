package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

func TestEnterTakesAtOnceWhatIsFree(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		reply := r.enterAs(backend.EnterRequest{Take: backend.TakeRequest{Token: "t", Count: 2}})
		require.Equal(t, []string{"a", "b"}, members(reply.Grants))
		require.Nil(t, reply.Handover)
		require.Equal(t, time.Minute, reply.Grants[0].TTL)
	})
}

func TestLineIsServedByPriorityThenArrival(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("0")
		priorities := []int{0, 5, 0, -3, 5}
		var waits []<-chan backend.Handover
		for i, p := range priorities {
			waits = append(waits, r.wait(fmt.Sprint("w", i), 1, p))
		}
		queue, err := r.Queue(t.Context(), backend.QueueRequest{Namespace: ns, Token: "w2", Limit: 3})
		require.NoError(t, err)
		require.Equal(t, 5, queue.Length)
		require.Equal(t, 4, queue.Position)
		require.Len(t, queue.Waiters, 3)
		require.Equal(t, "w1", queue.Waiters[0].Token)
		require.Equal(t, 5, queue.Waiters[0].Priority)
		require.Equal(t, 1, queue.Waiters[0].Count)
		require.True(t, queue.Waiters[0].Since.Equal(time.Now()))
		require.Equal(t, 5, r.inspect().Waiting)

		holder := "0"
		for _, next := range []int{1, 4, 0, 2, 3} {
			require.True(t, r.giveBack("a", holder))
			for i, w := range waits {
				if i == next {
					require.Equal(t, []string{"a"}, r.handed(w))
				} else {
					require.Nil(t, r.handed(w))
				}
			}
			holder = fmt.Sprint("w", next)
		}
		require.Empty(t, r.free())
		require.True(t, r.giveBack("a", holder))
		require.Equal(t, []string{"a"}, r.free())
	})
}

func TestTakeRespectsTheLineAndOnlyDoesNot(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		r.take("1")
		w := r.wait("w", 2, 0)
		require.Empty(t, r.take("2"), "b is free, but somebody waits")
		require.Empty(t, r.takeAs(backend.TakeRequest{Token: "2", Prefer: []string{"b"}}))
		require.Equal(t, "b", first(r.takeAs(backend.TakeRequest{Token: "2", Prefer: []string{"b"}, Only: true})))
		require.True(t, r.giveBack("a", "1"))
		require.Nil(t, r.handed(w))
		require.True(t, r.giveBack("b", "2"))
		require.Equal(t, []string{"a", "b"}, r.handed(w))
	})
}

func TestRequestForSeveralIsNotOvertaken(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		r.takeAs(backend.TakeRequest{Token: "0", Count: 3})
		big := r.wait("big", 2, 0)
		small := r.wait("small", 1, 0)
		require.True(t, r.giveBack("b", "0"))
		require.Nil(t, r.handed(big))
		require.Nil(t, r.handed(small))
		require.True(t, r.giveBack("a", "0"))
		require.Equal(t, []string{"b", "a"}, r.handed(big))
		require.True(t, r.giveBack("c", "0"))
		require.Equal(t, []string{"c"}, r.handed(small))
	})
}

func TestMoreImportantRequestDoesNotWaitForAnEarlierOne(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		r.take("0")
		big := r.wait("big", 2, 0)
		enter := backend.EnterRequest{Take: backend.TakeRequest{Token: "urgent", TTL: time.Second}, Priority: 1}
		require.Equal(t, []string{"b"}, members(r.enterAs(enter).Grants))
		require.True(t, r.giveBack("a", "0"))
		require.Nil(t, r.handed(big))
		pass(time.Second)
		require.Equal(t, []string{"a", "b"}, r.handed(big))
	})
}

func TestWhateverFreesServesTheLine(t *testing.T) {
	for name, free := range map[string]func(r rig){
		"return":        func(r rig) { r.giveBack("a", "0") },
		"forced return": func(r rig) { r.force(backend.NoExpiry, "a") },
		"extend":        func(r rig) { r.extend("b") },
		"assign": func(r rig) {
			_, err := r.Assign(r.t.Context(), backend.ExtendRequest{Namespace: ns, Members: []string{"b"}, TTL: backend.NoExpiry})
			require.NoError(r.t, err)
		},
		"a lock removed from outside": func(r rig) { r.unlock("a") },
		"a lease that ran out":        func(r rig) { pass(time.Minute) },
		"a shorter renewal": func(r rig) {
			r.renew("a", "0", time.Second)
			pass(time.Second)
		},
		"a lock from outside that ran out": func(r rig) {
			r.lock("a", time.Second)
			pass(time.Second)
		},
		"a lock from outside that outlives the lease": func(r rig) {
			r.lock("a", time.Hour)
			pass(time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r rig) {
				r.extend("a")
				r.take("0")
				w := r.wait("w", 1, 0)
				start := time.Now()
				free(r)
				h := <-w
				require.NoError(t, h.Err)
				require.Len(t, h.Grants, 1)
				require.Equal(t, "w", h.Grants[0].Token)
				require.Equal(t, backend.DefaultClaimTTL, h.Grants[0].TTL)
				require.LessOrEqual(t, time.Since(start), time.Hour)
				require.Equal(t, "w", r.value(backend.KindLock, h.Grants[0].Member).Value)
			})
		})
	}
}

func TestFirstInLineHasALapsedMemberExactlyAtItsDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		r.takeAs(backend.TakeRequest{Token: "0", TTL: 1234 * time.Millisecond})
		r.takeAs(backend.TakeRequest{Token: "1", TTL: 777 * time.Millisecond})
		start := time.Now()
		w, x := r.wait("w", 1, 0), r.wait("x", 1, 0)
		h := <-w
		require.Equal(t, "b", h.Grants[0].Member)
		require.True(t, h.Since.Equal(time.Now()), "it is sent when it is granted")
		require.Equal(t, 777*time.Millisecond, time.Since(start))
		require.Equal(t, "a", (<-x).Grants[0].Member)
		require.Equal(t, 1234*time.Millisecond, time.Since(start))
	})
}

func TestMemberLockedFromOutsideComesToWhoWaitsWhenThatEnds(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		r.lock("a", 3*time.Second) // free and locked until somebody comes to it
		r.lock("b", backend.NoExpiry)
		r.take("0")
		w := r.wait("w", 1, 0)
		start := time.Now()
		require.Equal(t, "a", (<-w).Grants[0].Member)
		require.Equal(t, 3*time.Second, time.Since(start))
		x := r.wait("x", 1, 0)
		require.True(t, r.unlock("b"))
		require.Equal(t, []string{"b"}, r.handed(x))
	})
}

func TestMembersThatLostTheirLockBeforeAreFoundByWhoJoinsTheLine(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b", "c")
		r.takeAs(backend.TakeRequest{Token: "0", Count: 2})
		require.True(t, r.unlock("b"))
		r.lock("c", time.Second)
		require.Empty(t, r.take("t"))
		pass(time.Second)
		require.Empty(t, r.take("t"), "a plain Take does not look for them")
		reply := r.enterAs(backend.EnterRequest{Take: backend.TakeRequest{Token: "w", Count: 2}})
		require.Equal(t, []string{"b", "c"}, r.handed(reply.Handover))
	})
}

func TestClaimThatIsNotTakenUpPassesOn(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("0")
		reply := r.enterAs(backend.EnterRequest{Take: backend.TakeRequest{Token: "dead"}, ClaimTTL: time.Second})
		alive := r.wait("alive", 1, 0)
		require.True(t, r.giveBack("a", "0"))
		h := <-reply.Handover
		require.Equal(t, time.Second, h.Grants[0].TTL)
		start := time.Now()
		h = <-alive
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, backend.DefaultClaimTTL, h.Grants[0].TTL)
		require.False(t, r.renew("a", "dead", time.Minute))

		require.True(t, r.renew("a", "alive", time.Minute), "the first renewal makes a lease of a claim")
		pass(backend.DefaultClaimTTL)
		require.Empty(t, r.take("t"))
		pass(time.Minute - backend.DefaultClaimTTL)
		require.Equal(t, "a", r.take("t"))
	})
}

func TestBoundWaiterIsBoundToWhatItGets(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		r.take("0")
		w := r.enterAs(backend.EnterRequest{Take: backend.TakeRequest{Token: "w", Binding: "job"}}).Handover
		require.True(t, r.giveBack("a", "0"))
		require.Equal(t, []string{"a"}, r.handed(w))
		require.Equal(t, "a", r.value(backend.KindBinding, "job").Value)
	})
}

func TestSharedWaiterGetsAMemberWithoutALock(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a")
		require.Len(t, r.takeAs(backend.TakeRequest{Token: "q", TTL: time.Second, Prefer: []string{"a"}, Only: true}), 1)
		w := r.enterAs(backend.EnterRequest{Take: backend.TakeRequest{Token: "w", Shared: true}}).Handover
		x := r.enterAs(backend.EnterRequest{Take: backend.TakeRequest{Token: "x", Shared: true}}).Handover
		h := <-w
		require.Equal(t, []backend.Grant{{Member: "a", Token: "w", TTL: backend.NoExpiry}}, h.Grants)
		require.Equal(t, []string{"a"}, r.handed(x))
		require.Equal(t, []string{"a"}, r.free())
	})
}

func TestLeaveEndsAWaitAndServesThoseBehind(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		r.take("0")
		big := r.wait("big", 2, 0)
		small := r.wait("small", 1, 0)
		require.Equal(t, backend.LeaveReply{Waiting: true}, r.leave("big"))
		require.Equal(t, []string{"b"}, r.handed(small))
		require.Nil(t, r.handed(big))
		require.Equal(t, backend.LeaveReply{}, r.leave("big"))
		require.Equal(t, backend.LeaveReply{}, r.leave("nobody"))
	})
}

func TestLeaveGivesBackWhatWasHandedOverAndNotRenewed(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		r.takeAs(backend.TakeRequest{Token: "0", Count: 2})
		w := r.wait("w", 2, 0)
		x := r.wait("x", 1, 0)
		require.True(t, r.giveBack("b", "0"))
		require.True(t, r.giveBack("a", "0"))
		require.Equal(t, []string{"b", "a"}, r.handed(w))
		require.True(t, r.renew("b", "w", time.Minute))
		require.Equal(t, backend.LeaveReply{Returned: 1}, r.leave("w"), "the other has been renewed")
		require.Equal(t, "w", r.value(backend.KindLock, "b").Value)
		require.Equal(t, "x", r.value(backend.KindLock, "a").Value)
		require.Equal(t, backend.LeaveReply{Returned: 1}, r.leave("x"), "handed over, whether or not it was learnt")
		require.Equal(t, []string{"a"}, r.free())
		require.Equal(t, []string{"a"}, r.handed(x))
	})
}

func TestLeaveLeavesAloneWhatWasGrantedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.extend("a", "b")
		reply := r.enterAs(backend.EnterRequest{Take: backend.TakeRequest{Token: "now"}})
		require.Len(t, reply.Grants, 1)
		require.Equal(t, "b", r.take("t"))
		require.Equal(t, backend.LeaveReply{}, r.leave("now"))
		require.Equal(t, backend.LeaveReply{}, r.leave("t"))
		require.Equal(t, "now", r.value(backend.KindLock, "a").Value)
		require.Empty(t, r.free())
	})
}

func TestLeaveUnlocksWhatHasLeftThePoolSince(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		w := r.wait("t", 2, 0)
		r.extend("b", "a")
		require.Equal(t, []string{"b", "a"}, r.handed(w))
		_, err := r.Shrink(t.Context(), backend.ShrinkRequest{Namespace: ns, Members: []string{"b"}})
		require.NoError(t, err)
		require.Equal(t, backend.LeaveReply{Returned: 2}, r.leave("t"))
		require.False(t, r.value(backend.KindLock, "b").Exists)
		require.Equal(t, []string{"a"}, r.free())
	})
}

func TestTokenWaitsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		r.wait("w", 1, 0)
		_, err := r.Enter(t.Context(), backend.EnterRequest{Take: backend.TakeRequest{Namespace: ns, Token: "w", TTL: time.Minute}})
		require.ErrorIs(t, err, backend.ErrInvalid)
		queue, err := r.Queue(t.Context(), backend.QueueRequest{Namespace: ns})
		require.NoError(t, err)
		require.Equal(t, backend.QueueReply{Length: 1}, queue)
	})
}

func TestEnterWithACancelledContextDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := r.Enter(ctx, backend.EnterRequest{Take: backend.TakeRequest{Namespace: ns, Token: "w", TTL: time.Minute}})
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, r.inspect().Waiting)
	})
}

func TestCloseEndsWaitsAndEverythingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		r := rig{b, t}
		r.extend("a")
		r.take("0")
		w := r.wait("w", 1, 0) // with a timer for the deadline
		require.NoError(t, b.Close())
		require.ErrorIs(t, (<-w).Err, backend.ErrClosed)
		require.NoError(t, b.Close())
		pass(time.Hour)

		ctx := t.Context()
		other := backend.Namespace{Prefix: "never", Suffix: "seen"}
		for _, n := range []backend.Namespace{ns, other} {
			_, err := b.Take(ctx, backend.TakeRequest{Namespace: n, Token: "t", TTL: time.Minute})
			require.ErrorIs(t, err, backend.ErrClosed)
			require.ErrorContains(t, err, "take "+n.Base())
			_, err = b.Enter(ctx, backend.EnterRequest{Take: backend.TakeRequest{Namespace: n, Token: "t", TTL: time.Minute}})
			require.ErrorIs(t, err, backend.ErrClosed)
			_, err = b.Get(ctx, backend.GetRequest{Namespace: n, Names: []string{"a"}})
			require.ErrorIs(t, err, backend.ErrClosed)
			_, err = b.Members(ctx, backend.MembersRequest{Namespace: n})
			require.ErrorIs(t, err, backend.ErrClosed)
		}
		_, err := b.Take(ctx, backend.TakeRequest{Namespace: ns})
		require.ErrorIs(t, err, backend.ErrInvalid, "what is wrong is said first")
	})
}

func TestContendingGoroutinesShareMembersWithoutOverlap(t *testing.T) {
	b := memory.New()
	r := rig{b, t}
	const goroutines, rounds = 64, 50
	names := numbered(0, 4)
	r.extend(names...)
	holders := make(map[string]*sync.Mutex)
	for _, name := range names {
		holders[name] = new(sync.Mutex)
	}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				token := backend.NewToken()
				take := backend.TakeRequest{Namespace: ns, Token: token, TTL: time.Hour}
				reply, err := b.Enter(t.Context(), backend.EnterRequest{Take: take, ClaimTTL: time.Hour})
				if err != nil {
					t.Error(err)
					return
				}
				grants := reply.Grants
				if reply.Handover != nil {
					grants = (<-reply.Handover).Grants
				}
				holder := holders[grants[0].Member]
				if !holder.TryLock() {
					t.Error("held by two at once")
					return
				}
				runtime.Gosched()
				holder.Unlock()
				held := backend.Held{Member: grants[0].Member, Token: token}
				back, err := b.Return(t.Context(), backend.ReturnRequest{Namespace: ns, Items: []backend.Held{held}})
				if err != nil || !back.Returned[0] {
					t.Error(back, err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, r.free(), 4)
	require.NoError(t, b.Close())
}

func TestCloseMayMeetEverythingElse(t *testing.T) {
	for range 20 {
		b := memory.New()
		ctx := t.Context()
		_, err := b.Extend(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{"a"}, TTL: backend.NoExpiry})
		require.NoError(t, err)
		var wg, started sync.WaitGroup
		started.Add(8)
		for range 8 {
			wg.Go(func() {
				for round := 0; ; round++ {
					if round == 2 {
						started.Done()
					}
					token := backend.NewToken()
					reply, err := b.Enter(ctx, backend.EnterRequest{
						Take: backend.TakeRequest{Namespace: ns, Token: token, TTL: time.Millisecond}, ClaimTTL: time.Millisecond,
					})
					if err != nil {
						return
					}
					if reply.Handover != nil {
						<-reply.Handover
					}
				}
			})
		}
		started.Wait()
		require.NoError(t, b.Close())
		wg.Wait()
	}
}

package integration

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

const historyProcesses = 5

// theatre is where histories are made.
type theatre struct {
	t     *testing.T
	name  string // of the scene
	ns    backend.Namespace
	rand  *rand.Rand
	store *redistest.Server // to which nothing happens
	cast  []*actor

	// What the actors use, of which there is one.
	server    *redistest.Server
	sentinels *redistest.Sentinels
	cluster   *redistest.Cluster

	problems     []entry
	acquisitions map[string]*acquisition // by id
	requests     map[string]*request

	failedOver time.Time
}

// actor is a process, and its connections.
type actor struct {
	*process
	url   string
	proxy *redistest.Proxy // nil, or what it is behind
	front *toxicFront      // nil, or what it is behind
}

// newTheatre has actors enter the stage.
func newTheatre(t *testing.T, name string, r *rand.Rand, build scenery) *theatre {
	t.Helper()
	th := &theatre{
		t: t, name: name, ns: newNamespace(t), rand: r, store: redistest.Start(t),
		acquisitions: make(map[string]*acquisition), requests: make(map[string]*request),
	}
	connect := build(th)
	for range historyProcesses {
		a := new(actor)
		connect(a)
		th.cast = append(th.cast, a)
		th.enter(a)
	}
	return th
}

func (th *theatre) enter(a *actor) {
	th.t.Helper()
	a.process = start(th.t, "history", historyArgs{a.url, th.store.URL(), th.ns, th.rand.Uint64()})
}

// scenery starts what the actors use, and gives what connects each of them.
type scenery func(*theatre) (connect func(*actor))

// oneServer is behind a proxy for each actor.
func oneServer(options ...redistest.Option) scenery {
	return func(th *theatre) func(*actor) {
		th.server = redistest.Start(th.t, options...)
		return func(a *actor) {
			a.proxy = redistest.NewProxy(th.t, th.server.Addr())
			a.url = a.proxy.URL()
		}
	}
}

// behindToxics is one server with a toxiproxy in front of it for each actor.
func behindToxics(th *theatre) func(*actor) {
	th.server = redistest.Start(th.t)
	return func(a *actor) {
		a.front = newToxicFront(th.t, th.server.Addr())
		a.url = a.front.url()
	}
}

// watchedServers are a primary and two replicas, with Sentinels.
func watchedServers(th *theatre) func(*actor) {
	th.sentinels = redistest.StartSentinels(th.t, 2, 3)
	return func(a *actor) { a.url = th.sentinels.URL() }
}

// in is a Cluster.
func in(c *redistest.Cluster) scenery {
	return func(th *theatre) func(*actor) {
		th.ns.HashTag = true
		th.cluster = c
		return func(a *actor) { a.url = c.URL() }
	}
}

// play has everybody do what they do, for so long, while faults happen, the first one at least. Then all are dead.
func (th *theatre) play(d time.Duration, faults []fault) {
	th.t.Helper()
	n, next := 0, faults[0]
	over := time.Now().Add(d)
	slow := over.Add(patience) // a machine on which there would be no history yet
	for pause(th.t.Context(), historyTTL); n == 0 || time.Now().Before(over) || th.tooLittle() && time.Now().Before(slow); n++ {
		pause(th.t.Context(), next(th))
		next = faults[th.rand.IntN(len(faults))]
		for _, a := range th.cast {
			th.listen(a)
		}
	}
	for _, a := range th.cast {
		th.kill(a)
	}
	th.t.Logf("%d faults in %v", n, d)
}

// tooLittle reports whether there is a kind of which hardly anything was acquired.
func (th *theatre) tooLittle() bool {
	const enough = 20
	n := map[string]int{"shared pool": len(th.requests)}
	for _, a := range th.acquisitions {
		n[a.Kind]++
	}
	for _, k := range kinds() {
		if n[k.name] < enough {
			return true
		}
	}
	return false
}

// kill ends a process, and notes when at the latest it still lived.
func (th *theatre) kill(a *actor) {
	lived := now()
	a.kill()
	th.listen(a)
	for _, got := range th.acquisitions {
		for _, l := range got.leases {
			if got.by == a.process && l.leaving == 0 {
				l.died = lived
			}
		}
	}
}

// listen notes what a process has told.
func (th *theatre) listen(a *actor) {
	for e := (entry{}); a.heard(&e); e = (entry{}) {
		switch {
		case e.Problem != "":
			th.problems = append(th.problems, e)
			continue
		case e.Got != nil:
			th.acquired(a, &e)
			continue
		case e.Turning != nil:
			th.requests[e.ID] = &request{turning: *e.Turning}
			continue
		case e.Turned != nil:
			th.requests[e.ID].turned = e.Turned
			continue
		}
		l := th.acquisitions[e.ID].leases[e.Part]
		switch {
		case e.Access != nil:
			l.accesses = append(l.accesses, e.Access)
		case e.Sharing != 0:
			l.sharing = e.Sharing
		case e.Leaving != 0:
			l.leaving = e.Leaving
		}
	}
}

func (th *theatre) acquired(a *actor, e *entry) {
	got := &acquisition{got: *e.Got, by: a.process}
	for i := range e.Got.Leases {
		got.leases = append(got.leases, &lease{part: e.Got.Leases[i], name: leaseName(e.ID, i), got: e.Got.Return})
	}
	th.acquisitions[e.ID] = got
}

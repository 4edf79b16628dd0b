package redistest

import (
	"net"
	"strconv"
	"strings"
	"testing"
)

// A Cluster is a Redis Cluster. As long as no test calls [Cluster.FailOver] its nodes are in no hurry to give each other
// up, so that they do not take a busy machine for a broken node.
type Cluster struct {
	tb    testing.TB
	nodes []*Server
	ids   []string
}

// StartCluster starts a Cluster of some primaries, which share the slots evenly, each with some replicas, and returns when
// each node says that all is well. A failover takes at least three primaries.
func StartCluster(tb testing.TB, primaries, replicasEach int, opts ...Option) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	opts = append([]Option{node}, opts...)
	for range primaries * (1 + replicasEach) {
		s := Start(tb, opts...)
		c.nodes = append(c.nodes, s)
		id, _ := s.Do("CLUSTER", "MYID").(string)
		c.ids = append(c.ids, id)
	}
	const slots = 16384
	for i, s := range c.nodes {
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		for _, other := range c.nodes[:i] {
			host, port, _ := net.SplitHostPort(other.Addr())
			s.Do("CLUSTER", "MEET", host, port)
		}
		if i < primaries {
			first, next := i*slots/primaries, (i+1)*slots/primaries
			s.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(next-1))
		}
	}
	c.await("all nodes know each other", func() bool {
		for _, s := range c.nodes {
			if strings.Count(c.view(s), " connected") != len(c.nodes) || strings.Contains(c.view(s), "handshake") {
				return false
			}
		}
		return true
	})
	for i, s := range c.nodes[primaries:] {
		s.Do("CLUSTER", "REPLICATE", c.ids[i%primaries])
	}
	c.await("replicas have copies", func() bool {
		for _, s := range c.nodes[primaries:] {
			if !s.copied() {
				return false
			}
		}
		return true
	})
	c.awaitWell()
	return c
}

// node makes a server a node of a Cluster.
func node(o *options) {
	o.node = true
	o.config = append(o.config, "cluster-enabled yes", "cluster-node-timeout "+calm, "cluster-replica-validity-factor 0")
}

// URL returns a URL that names all nodes.
func (c *Cluster) URL() string { return severalURL(c.nodes) }

// Nodes returns all nodes: those first that were primaries at the start.
func (c *Cluster) Nodes() []*Server { return c.nodes }

// Slot returns the slot of a key.
func (c *Cluster) Slot(key string) int {
	c.tb.Helper()
	for _, s := range c.nodes {
		if s.p.answers() {
			slot, _ := s.Do("CLUSTER", "KEYSLOT", key).(int64)
			return int(slot)
		}
	}
	c.tb.Fatalf("redistest: no node runs")
	return 0
}

// Owner returns the node that serves a key. It waits until there is one.
func (c *Cluster) Owner(key string) *Server {
	c.tb.Helper()
	slot := c.Slot(key)
	var owner *Server
	c.await("an owner of slot "+strconv.Itoa(slot), func() bool {
		owner = c.owner(slot)
		return owner != nil
	})
	return owner
}

// Other returns a primary that does not serve a key.
func (c *Cluster) Other(key string) *Server {
	c.tb.Helper()
	owner := c.Owner(key)
	var other *Server
	c.await("a primary other than "+owner.Addr(), func() bool {
		other = c.primaryFor(owner)
		return other != nil
	})
	return other
}

// primaryFor is another node that serves slots, as a node sees it. One that was just started again may take itself for a
// primary still.
func (c *Cluster) primaryFor(s *Server) *Server {
	serves := make(map[string]bool)
	for line := range strings.Lines(c.view(s)) {
		fields := strings.Fields(line)
		serves[fields[0]] = len(fields) > 8 && fields[2] == "master"
	}
	for i, other := range c.nodes {
		if other != s && serves[c.ids[i]] && other.p.answers() && other.role() == "master" {
			return other
		}
	}
	return nil
}

// Replica returns a replica of a primary, which is up to date.
func (c *Cluster) Replica(primary *Server) *Server {
	c.tb.Helper()
	_, port, _ := net.SplitHostPort(primary.Addr())
	var found *Server
	c.await("a replica of "+primary.Addr(), func() bool {
		for _, s := range c.nodes {
			if s.p.answers() && s.copied() && s.of() == port {
				found = s
			}
		}
		return found != nil
	})
	return found
}

// Move moves the slot of a key, with all its keys by tens, to another primary, as redis-cli --cluster reshard does.
// Whoever uses the slot meanwhile is told ASK and TRYAGAIN, and MOVED afterwards.
func (c *Cluster) Move(key string, to *Server) {
	c.tb.Helper()
	c.BeginMove(key, to)
	for c.MoveKeys(key, to, 10) > 0 {
	}
	c.EndMove(key, to)
}

// BeginMove is the first step of [Cluster.Move]: it opens a slot at both ends.
func (c *Cluster) BeginMove(key string, to *Server) {
	c.tb.Helper()
	slot, from := strconv.Itoa(c.Slot(key)), c.Owner(key)
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", c.id(from))
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", c.id(to))
}

// MoveKeys is the second step of [Cluster.Move]: it moves some keys, or those that are named, and returns how many.
func (c *Cluster) MoveKeys(key string, to *Server, most int, names ...string) int {
	c.tb.Helper()
	from := c.Owner(key)
	if len(names) == 0 {
		list, _ := from.Do("CLUSTER", "GETKEYSINSLOT", strconv.Itoa(c.Slot(key)), strconv.Itoa(most)).([]any)
		for _, name := range list {
			text, _ := name.(string)
			names = append(names, text)
		}
	}
	host, port, _ := net.SplitHostPort(to.Addr())
	if len(names) > 0 {
		from.Do(append([]string{"MIGRATE", host, port, "", "0", "10000", "KEYS"}, names...)...)
	}
	return len(names)
}

// EndMove is the last step of [Cluster.Move]: all nodes learn whose the slot is.
func (c *Cluster) EndMove(key string, to *Server) {
	c.tb.Helper()
	slot, from := strconv.Itoa(c.Slot(key)), c.Owner(key)
	to.Do("CLUSTER", "SETSLOT", slot, "NODE", c.id(to))
	from.Do("CLUSTER", "SETSLOT", slot, "NODE", c.id(to))
	for _, s := range c.nodes {
		if s != to && s != from && s.p.answers() && s.role() == "master" {
			s.Do("CLUSTER", "SETSLOT", slot, "NODE", c.id(to))
		}
	}
}

// Switch has a replica take the place of its primary by hand, without a loss, and waits until all nodes know.
func (c *Cluster) Switch(replica *Server) {
	c.tb.Helper()
	c.awaitWell() // its primary must know it
	replica.Do("CLUSTER", "FAILOVER")
	c.await("a failover by hand", func() bool { return replica.role() == "master" })
	c.awaitWell()
}

// FailOver breaks the node that serves a key, for instance by (*Server).Kill or (*Server).Pause, waits until a replica has
// taken its place and all nodes that are left know, and returns that one. The broken one becomes a replica when it goes
// on.
func (c *Cluster) FailOver(key string, breakIt func(*Server)) *Server {
	c.tb.Helper()
	slot, old := c.Slot(key), c.Owner(key)
	c.timeout(hasty)
	breakIt(old)
	var next *Server
	c.await("a failover", func() bool {
		next = c.owner(slot)
		return next != nil && next != old
	})
	c.awaitWell()
	c.timeout(calm)
	return next
}

// timeout says for how long a node may be silent.
func (c *Cluster) timeout(ms string) {
	c.tb.Helper()
	for _, s := range c.nodes {
		if s.p.answers() {
			s.Do("CONFIG", "SET", "cluster-node-timeout", ms)
		}
	}
}

// awaitWell waits until all nodes that run say that all is well, and agree on who is who.
func (c *Cluster) awaitWell() {
	c.tb.Helper()
	c.await("the Cluster is well", func() bool {
		agreed := ""
		for _, s := range c.nodes {
			if !s.p.answers() {
				continue
			}
			info, err := s.p.ask("CLUSTER", "INFO")
			if text, _ := info.(string); err != nil || !strings.Contains(text, "cluster_state:ok") {
				return false
			}
			roles := c.roles(s)
			if agreed == "" {
				agreed = roles
			}
			if roles != agreed || strings.Contains(roles, "?") {
				return false
			}
		}
		return true
	})
}

// roles tells who are primaries for a node, in the order of the nodes.
func (c *Cluster) roles(s *Server) string {
	roles := make([]byte, len(c.ids))
	for line := range strings.Lines(c.view(s)) {
		fields := strings.Fields(line)
		for i, id := range c.ids {
			switch {
			case fields[0] != id:
			case strings.Contains(fields[2], "fail") && !c.nodes[i].p.answers():
				roles[i] = '-'
			case strings.Contains(fields[2], "fail"):
				roles[i] = '?'
			case strings.Contains(fields[2], "master"):
				roles[i] = 'p'
			default:
				roles[i] = 'r'
			}
		}
	}
	return string(roles)
}

// of is the port of the primary that a replica says that it has.
func (s *Server) of() string {
	answer, err := s.p.ask("ROLE")
	if list, _ := answer.([]any); err == nil && len(list) > 2 {
		port, _ := list[2].(int64)
		return strconv.FormatInt(port, 10)
	}
	return ""
}

// owner is the node that says that it serves a slot, the one with the newest claim if several do.
func (c *Cluster) owner(slot int) (owner *Server) {
	newest := int64(-1)
	for _, s := range c.nodes {
		if !s.p.answers() {
			continue
		}
		for line := range strings.Lines(c.view(s)) {
			fields := strings.Fields(line)
			if len(fields) < 8 || !strings.Contains(fields[2], "myself,master") || !serves(fields[8:], slot) {
				continue
			}
			if epoch, err := strconv.ParseInt(fields[6], 10, 64); err == nil && epoch > newest {
				newest, owner = epoch, s
			}
		}
	}
	return owner
}

// serves reports whether a slot is among some ranges.
func serves(ranges []string, slot int) bool {
	for _, text := range ranges {
		first, last, several := strings.Cut(text, "-")
		if !several {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 == nil && err2 == nil && from <= slot && slot <= to {
			return true
		}
	}
	return false
}

// view is what a node knows of all.
func (c *Cluster) view(s *Server) string {
	view, _ := s.p.ask("CLUSTER", "NODES")
	text, _ := view.(string)
	return text
}

func (c *Cluster) id(s *Server) string {
	for i := range c.nodes {
		if c.nodes[i] == s {
			return c.ids[i]
		}
	}
	c.tb.Fatalf("redistest: %s is no node of this Cluster", s.Addr())
	return ""
}

func (c *Cluster) await(what string, so func() bool) {
	c.tb.Helper()
	await(c.tb, failoverTimeout, what, so, c.nodes...)
}

package redistest

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// master is what Sentinels call what they watch.
const master = "primary"

const (
	calm  = "60000" // ms, for which a server that is only slow may be silent
	hasty = "1000"  // ms, after which one is given up that a test has broken

	// failoverTimeout leaves time for some tries. The next one comes 20 seconds after one that has failed, and a Sentinel that
	// had to wait for the machine for 2 seconds does nothing for 30.
	failoverTimeout = 3 * time.Minute
)

// Sentinels watch a primary and its replicas. As long as no test calls [Sentinels.FailOver] they are in no hurry, so that
// they do not take a busy machine for a broken server.
type Sentinels struct {
	tb        testing.TB
	servers   []*Server
	sentinels []*Server
}

// StartSentinels starts a primary with some replicas, and Sentinels of them, and returns when all of them know each
// other. A failover takes at least two Sentinels.
func StartSentinels(tb testing.TB, replicas, sentinels int, opts ...Option) *Sentinels {
	tb.Helper()
	primary := Start(tb, opts...)
	f := &Sentinels{tb: tb, servers: []*Server{primary}}
	for range replicas {
		f.servers = append(f.servers, StartReplica(tb, primary, opts...))
	}
	host, port, _ := strings.Cut(primary.Addr(), ":")
	for range sentinels {
		f.sentinels = append(f.sentinels, Start(tb, sentinel, Config(
			"sentinel monitor "+master+" "+host+" "+port+" "+strconv.Itoa(sentinels/2+1),
			"sentinel down-after-milliseconds "+master+" "+calm,
			"sentinel failover-timeout "+master+" 10000",
		)))
	}
	for _, s := range f.sentinels {
		f.await("all know each other", func() bool {
			seen := s.table("SENTINEL", "MASTER", master)
			return seen["flags"] == "master" && seen["num-slaves"] == strconv.Itoa(replicas) &&
				seen["num-other-sentinels"] == strconv.Itoa(sentinels-1)
		})
	}
	return f
}

// sentinel makes a server a Sentinel.
func sentinel(o *options) { o.flags = append(o.flags, "--sentinel") }

// URL returns a URL that names the Sentinels and what they watch.
func (f *Sentinels) URL() string {
	return severalURL(f.sentinels) + "&master_set=" + master
}

// severalURL names several servers.
func severalURL(servers []*Server) string {
	url := servers[0].URL() + "?"
	for i, s := range servers[1:] {
		if i > 0 {
			url += "&"
		}
		url += "addr=" + s.Addr()
	}
	return url
}

// Servers returns the primary that there was at first, and its replicas.
func (f *Sentinels) Servers() []*Server { return f.servers }

// Primary returns the server that all Sentinels call the primary and that itself says so. It waits until there is one.
func (f *Sentinels) Primary() *Server {
	f.tb.Helper()
	var found *Server
	f.await("a primary", func() bool {
		addr := f.named()
		for _, s := range f.servers {
			if s.Addr() == addr && s.p.answers() && s.role() == "master" {
				found = s
			}
		}
		return found != nil
	})
	return found
}

// FailOver breaks the primary, for instance by (*Server).Kill or (*Server).Pause, waits until the Sentinels have put a
// replica in its place, and returns that one. The broken one becomes a replica when it goes on.
func (f *Sentinels) FailOver(breakIt func(*Server)) *Server {
	f.tb.Helper()
	old := f.Primary()
	f.patience(hasty)
	breakIt(old)
	var next *Server
	f.await("a failover", func() bool {
		if addr := f.named(); addr == "" || addr == old.Addr() {
			return false
		}
		next = f.Primary()
		return true
	})
	f.patience(calm)
	return next
}

// patience says for how long a server may be silent.
func (f *Sentinels) patience(ms string) {
	f.tb.Helper()
	for _, s := range f.sentinels {
		s.Do("SENTINEL", "SET", master, "down-after-milliseconds", ms)
	}
}

// named is the address of the primary on which the Sentinels agree.
func (f *Sentinels) named() string {
	agreed := ""
	for _, s := range f.sentinels {
		answer, err := s.p.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)
		parts, _ := answer.([]any)
		if err != nil || len(parts) != 2 {
			return ""
		}
		host, _ := parts[0].(string)
		port, _ := parts[1].(string)
		if addr := host + ":" + port; agreed == "" {
			agreed = addr
		} else if addr != agreed {
			return ""
		}
	}
	return agreed
}

func (f *Sentinels) await(what string, so func() bool) {
	f.tb.Helper()
	await(f.tb, failoverTimeout, what, so, append(f.servers, f.sentinels...)...)
}

// role is what a server says that it is.
func (s *Server) role() string {
	answer, err := s.p.ask("ROLE")
	if list, _ := answer.([]any); err == nil && len(list) > 0 {
		role, _ := list[0].(string)
		return role
	}
	return ""
}

// table reads an answer that is a list of names and values.
func (s *Server) table(words ...string) map[string]string {
	answer, _ := s.p.ask(words...)
	list, _ := answer.([]any)
	seen := make(map[string]string)
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].(string)
		seen[name], _ = list[i+1].(string)
	}
	return seen
}

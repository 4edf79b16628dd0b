// Package redistest gives tests a real Redis or Valkey server, and ways to break it.
//
// [URL] names one server for a whole test binary, in which each test keeps to names that start with its own
// [Prefix]. [Start] gives a test a server of its own, to kill, pause and restart; [StartReplica] one that copies it;
// [StartSentinels] a primary with replicas that fails over to one of them; [StartCluster] a Cluster whose slots can be
// moved and whose nodes can fail. [NewProxy] puts a connection in front of a server that can be cut or fall silent at a
// chosen request.
//
// The program is redis-server or, where that is not on PATH, valkey-server. A missing one fails the test; no
// test is skipped. A server that was started here listens on 127.0.0.1 and ends with its test or its test
// binary, on Linux also when that is killed.
package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// shared is the server of this test binary, started when the first test asks for it.
var shared struct {
	sync.Mutex
	wrapped bool // a TestMain will stop it
	url     string
	stop    func()
	err     error
}

// URL returns the URL of the server that all tests of this binary share: REDIS_URL if that is set, otherwise
// one started at the first call. It keeps nothing on disk. TestMain must stop it, by [Main] or [Wrap].
func URL(tb testing.TB) string {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	switch {
	case shared.stop != nil || shared.err != nil:
	case !shared.wrapped:
		shared.err = errors.New("nothing would stop the shared server: call redistest.Main or redistest.Wrap in TestMain")
	default:
		shared.url, shared.stop, shared.err = Serve()
	}
	if shared.err != nil {
		tb.Fatalf("redistest: %v", shared.err)
	}
	return shared.url
}

// Serve returns the URL of a server and what stops it, for a program that is no test: REDIS_URL if that is
// set, which nothing stops, otherwise a new one.
func Serve() (url string, stop func(), err error) {
	if url := os.Getenv("REDIS_URL"); url != "" {
		return url, func() {}, nil
	}
	return Launch()
}

// Launch returns the URL of a new server and what stops it, for a program that needs several.
func Launch() (url string, stop func(), err error) {
	p, err := launch(options{})
	if err != nil {
		return "", nil, err
	}
	return "redis://" + p.addr, p.close, nil
}

// Program returns the path of the server's program.
func Program() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("neither redis-server nor valkey-server is on PATH; install one (apt-get install redis-server)")
}

// Main runs the tests, stops the shared server and exits. It is the whole of a TestMain:
//
//	func TestMain(m *testing.M) { redistest.Main(m) }
func Main(m *testing.M) { os.Exit(Wrap(m).Run()) }

// M is a [testing.M] whose Run stops the shared server after the tests.
type M struct{ m *testing.M }

// Wrap makes m stop the shared server, for a TestMain that does more than [Main], such as looking for leaked
// goroutines:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Wrap(m)) }
func Wrap(m *testing.M) *M {
	shared.Lock()
	defer shared.Unlock()
	shared.wrapped = true
	return &M{m}
}

// Run runs the tests and returns the exit code, when the goroutines that the tests have left behind have ended, or have
// had the time for it that a busy machine takes: whoever looks for leaks need not wait.
func (m *M) Run() int {
	before := runtime.NumGoroutine()
	code := m.m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.stop != nil {
		shared.stop()
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for begin := time.Now(); runtime.NumGoroutine() > before && time.Since(begin) < stopTimeout/2; {
		<-tick.C
	}
	return code
}

// Prefix returns a name that no other test uses, now or in an earlier run: that of the test, with _ for what
// is no letter, digit or dash, and a random number. Names that start with it keep tests on one server apart.
func Prefix(tb testing.TB) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-':
			return r
		}
		return '_'
	}, tb.Name())
	return fmt.Sprintf("%s-%016x", name, rand.Uint64())
}

package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The environment that makes this binary a worker instead of a test.
const (
	workerName = "INTEGRATION_WORKER"
	workerArgs = "INTEGRATION_WORKER_ARGS"
)

// workers are what this binary can be instead of a test.
func workers() map[string]func(*worker) error {
	return map[string]func(*worker) error{
		"ask":       askWorker,
		"crash":     crashWorker,
		"history":   historyWorker,
		"holder":    holderWorker,
		"leak":      leakWorker,
		"lockqueue": lockQueueWorker,
		"queue":     queueWorker,
		"mixed":     mixedWorker,
		"stop":      stopWorker,
		"tasks":     taskWorker,
	}
}

// A worker is the other end of a [process]: it reads lines from its parent and answers in JSON. It ends with its
// parent.
type worker struct {
	args []byte
	in   chan string

	mu  sync.Mutex
	out *json.Encoder
}

// work runs the worker that the environment names; false if it names none.
func work() (code int, ok bool) {
	run, ok := workers()[os.Getenv(workerName)]
	if !ok {
		return 0, false
	}
	w := &worker{args: []byte(os.Getenv(workerArgs)), in: make(chan string, 1024), out: json.NewEncoder(os.Stdout)}
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			w.in <- lines.Text()
		}
		os.Exit(3) // the parent is gone
	}()
	if err := run(w); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// read gives the arguments.
func (w *worker) read(args any) error { return json.Unmarshal(w.args, args) }

// tell sends one value to the parent.
func (w *worker) tell(v any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(v) // a parent that is gone ends the worker
}

// A process is this binary, running as a worker.
type process struct {
	tb    testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed once it was reaped and all of its output is there

	mu     sync.Mutex
	out    [][]byte // whole lines
	rest   []byte
	stderr bytes.Buffer
	said   chan struct{} // has room for one
}

// start starts a worker, which ends with the test.
func start(tb testing.TB, name string, args any) *process {
	tb.Helper()
	p, err := launch(tb, name, args)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() && p.stderr.Len() > 0 {
			tb.Logf("worker %s: %s", name, &p.stderr)
		}
	})
	return p
}

// launch starts a worker, which the caller has to kill.
func launch(tb testing.TB, name string, args any) (*process, error) {
	encoded, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	p := &process{tb: tb, done: make(chan struct{}), said: make(chan struct{}, 1), cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), workerName+"="+name, workerArgs+"="+string(encoded))
	p.cmd.Stdout, p.cmd.Stderr = p, &p.stderr
	p.cmd.SysProcAttr = dieWithParent()
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the starting thread for the end of the parent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is the test's business
		}
	}()
	return p, <-started
}

// Write takes what the worker says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, b...)
	for {
		line, rest, ok := bytes.Cut(p.rest, []byte("\n"))
		if !ok {
			break
		}
		p.out, p.rest = append(p.out, bytes.Clone(line)), rest
	}
	select {
	case p.said <- struct{}{}:
	default:
	}
	return len(b), nil
}

// heard gives the next value that the worker has told, if there is one.
func (p *process) heard(v any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.out) == 0 {
		return false
	}
	line := p.out[0]
	p.out = p.out[1:]
	require.NoError(p.tb, json.Unmarshal(line, v), string(line))
	return true
}

// hear waits for the next value that the worker tells.
func (p *process) hear(v any) {
	p.tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !p.heard(v) {
		select {
		case <-p.said:
		case <-p.done:
			if p.heard(v) {
				return
			}
			require.FailNow(p.tb, "worker has ended", "%v: %s", p.cmd.ProcessState, &p.stderr)
		case <-deadline.C:
			require.FailNow(p.tb, "worker says nothing")
		}
	}
}

// say sends a line to the worker.
func (p *process) say(line string) {
	p.tb.Helper()
	_, err := io.WriteString(p.stdin, line+"\n")
	require.NoError(p.tb, err)
}

// kill ends the worker as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // unless it has ended
	<-p.done
}

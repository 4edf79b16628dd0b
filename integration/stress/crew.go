package stress

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// crew is the processes that work. Its methods are for one goroutine, but for gone and dead.
type crew struct {
	*findings
	cfg    Config
	spaces Spaces
	cast   []*process // by slot
	tally  *tally

	mu   sync.Mutex
	lost map[string]time.Time  // when processes died, by job.id; they left if that is zero
	dead map[string]*deadWatch // those that died and may hold something, by backend.ProcessID
}

// deadWatch is a process that died with something in its hands, perhaps.
type deadWatch struct {
	died time.Time
	held time.Time // when it was last seen to have something
}

// tally is what all workers have told.
type tally struct {
	mu    sync.Mutex
	did   map[string]int64
	waits map[string]*Times
}

// process is one worker.
type process struct {
	job    job
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *tail
	done   chan struct{} // closed once it was reaped and all that it told was read

	mu sync.Mutex
	id string // backend.ProcessID, once it has told it

	ready, stopped chan struct{} // closed when it has told so
}

// tail keeps the beginning of what is written to it, which is where Go says why a process died.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const enough = 4 << 10
	t.b.Write(b[:min(len(b), max(0, enough-t.b.Len()))])
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func newCrew(cfg Config, spaces Spaces, f *findings) *crew {
	return &crew{
		findings: f, cfg: cfg, spaces: spaces, cast: make([]*process, cfg.Processes),
		tally: &tally{did: make(map[string]int64), waits: make(map[string]*Times)},
		lost:  make(map[string]time.Time), dead: make(map[string]*deadWatch),
	}
}

// enter fills a slot with a new process.
func (c *crew) enter(slot int, quit bool) error {
	life := 0
	if before := c.cast[slot]; before != nil {
		life = before.job.Life + 1
	}
	p, err := c.start(job{
		Spaces: c.spaces, URL: c.cfg.URL, Seed: c.cfg.Seed, Slot: slot, Life: life, TTL: c.cfg.TTL, Quit: quit,
	})
	if err == nil {
		c.cast[slot] = p
	}
	return err
}

func (c *crew) start(j job) (*process, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{
		job: j, cmd: exec.Command(self), stderr: new(tail),
		done: make(chan struct{}), ready: make(chan struct{}), stopped: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), environment+"="+string(text))
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = apart()
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the starting thread for the end of the parent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			c.listen(p, stdout)
			_ = p.cmd.Wait() // how it ended is looked at elsewhere
			close(p.done)
		}
	}()
	return p, <-started
}

// listen takes what a worker tells until it is dead.
func (c *crew) listen(p *process, stdout io.Reader) {
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // half a line is of somebody who died over it
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			c.add("worker", "worker %s says %q", p.job.id(), line)
			continue
		}
		c.hear(p, &m)
	}
}

func (c *crew) hear(p *process, m *message) {
	if m.Complaint != "" {
		c.add("worker", "worker %s: %s", p.job.id(), m.Complaint)
	}
	if m.Process != "" {
		p.mu.Lock()
		p.id = m.Process
		p.mu.Unlock()
		close(p.ready)
	}
	if m.Stopped {
		close(p.stopped)
	}
	c.tally.mu.Lock()
	defer c.tally.mu.Unlock()
	for what, n := range m.Did {
		c.tally.did[what] += n
	}
	for what, times := range m.Waits {
		if c.tally.waits[what] == nil {
			c.tally.waits[what] = new(Times)
		}
		c.tally.waits[what].merge(times)
	}
}

// kill ends a worker as a crash would.
func (c *crew) kill(p *process) {
	_ = p.cmd.Process.Kill() // unless it has ended
	<-p.done
	c.bury(p)
}

// bury notes that a worker is dead.
func (c *crew) bury(p *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost[p.job.id()] = now
	if p.id != "" {
		c.dead[p.id] = &deadWatch{died: now, held: now}
	}
}

// stop lets a worker stand still for some time.
func (c *crew) stop(ctx context.Context, p *process, d time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP) // unless it has ended
	pause(ctx, d)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
}

// revive replaces the workers that have died of their tasks, and tells how many. Those that died of anything else are a
// violation.
func (c *crew) revive(quit bool) (n int, err error) {
	for slot, p := range c.cast {
		select {
		case <-p.done:
		default:
			continue
		}
		n++
		c.bury(p)
		if code := p.cmd.ProcessState.ExitCode(); code != poisoned {
			c.add("worker", "worker %s has died by itself: %v: %s", p.job.id(), p.cmd.ProcessState, p.stderr)
		}
		if err := c.enter(slot, quit); err != nil {
			return n, err
		}
	}
	return n, nil
}

// say tells all workers something.
func (c *crew) say(what string) {
	for _, p := range c.cast {
		_, _ = io.WriteString(p.stdin, what+"\n") // who is dead is noticed otherwise
	}
}

// ready waits until all workers have come so far as to say who they are, or have died.
func (c *crew) ready(ctx context.Context) {
	for _, p := range c.cast {
		select {
		case <-p.ready:
		case <-p.done:
		case <-ctx.Done():
		}
	}
}

// idle reports whether nobody begins anything new.
func (c *crew) idle() bool {
	for _, p := range c.cast {
		select {
		case <-p.stopped:
		default:
			return false
		}
	}
	return true
}

// leave waits until all workers that were told to end have done so, in good order.
func (c *crew) leave(within time.Duration) {
	limit := time.NewTimer(within)
	defer limit.Stop()
	for _, p := range c.cast {
		select {
		case <-p.done:
			if !p.cmd.ProcessState.Success() {
				c.add("worker", "worker %s has not ended well: %v: %s", p.job.id(), p.cmd.ProcessState, p.stderr)
			}
		case <-limit.C:
			limit.Reset(0)
			_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it tells what it does
			pause(context.Background(), time.Second)
			c.add("worker", "worker %s does not end: %s", p.job.id(), p.stderr)
			c.kill(p)
		}
	}
}

// close kills whoever is left.
func (c *crew) close() {
	for _, p := range c.cast {
		if p != nil {
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
}

// settled is how long after the death of a process everything has been carried out that it had sent.
const settled = 2 * time.Second

// gone reports whether the process that has submitted a task is dead, and has been for some time.
func (c *crew) gone(task string) bool {
	owner, _, _ := strings.Cut(task, "-")
	parts := strings.SplitN(owner, ".", 3)
	if len(parts) < 3 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	died, ok := c.lost[parts[0]+"."+parts[1]]
	return ok && time.Since(died) > settled
}

// watchDead notes which of the dead still had something when somebody looked, by the tokens of all who had. It tells how
// long those had it who have nothing any more.
func (c *crew) watchDead(looked time.Time, tokens []string, recovery *Times) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := strings.Join(tokens, "\n")
	for id, d := range c.dead {
		switch waited := time.Since(d.died); {
		case d.died.After(looked):
		case !strings.Contains(all, id):
			if d.held.After(d.died) {
				recovery.add(d.held.Sub(d.died))
			}
			delete(c.dead, id)
		case waited > c.cfg.longest()+c.cfg.patience:
			c.add("dead", "process %s died %v ago and still has something: %s", id, waited, fmt.Sprint(tokens))
			delete(c.dead, id)
		default:
			d.held = time.Now()
		}
	}
}

package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	host                    = "127.0.0.1"
	lowestPort, highestPort = 10000, 32000
	busOffset               = 10000 // from the port of a node of a Cluster to the one that nodes speak on

	startTimeout = time.Minute // from the start of a server to its first answer
	stopTimeout  = time.Minute // from the request to stop to the end of the process
	pollInterval = 2 * time.Millisecond
)

// errPortTaken says that a server ended because somebody else has its port.
var errPortTaken = errors.New("port is taken")

// A process is a server with a directory and an address that stay the same over all its lives.
type process struct {
	options

	program string
	dir     string
	addr    string

	mu     sync.Mutex
	life   *life // nil when the process is known to have ended
	paused bool
}

// A life is one run of the program.
type life struct {
	*os.Process
	done chan struct{} // closed once the process was reaped
}

// launch starts a server on a free port.
func launch(o options) (*process, error) {
	program, err := Program()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	p := &process{options: o, program: program, dir: dir}
	for range 20 {
		if err = p.choosePort(); err != nil {
			break
		}
		if err = p.start(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// choosePort finds a port and writes the configuration. The port lies below those that the kernel gives to
// outgoing connections: otherwise one of them could take it while the server is down, and a client that tries
// to reach a dead server could even connect to itself. So does the one of a node of a Cluster on which nodes speak to
// each other.
func (p *process) choosePort() error {
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if p.node {
			port = lowestPort + rand.IntN(highestPort-lowestPort-busOffset)
		}
		if free(port) && (!p.node || free(port+busOffset)) {
			p.addr = address(port)
			return p.configure(strconv.Itoa(port))
		}
	}
	return errors.New("found no free port")
}

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func free(port int) bool {
	l, err := net.Listen("tcp", address(port))
	return err == nil && l.Close() == nil
}

func (p *process) configure(port string) error {
	if p.tls != nil {
		if err := p.tls.write(p.dir); err != nil {
			return err
		}
		port = "0\ntls-port " + port
	}
	lines := append([]string{
		"bind " + host,
		"port " + port,
		"unixsocket " + strconv.Quote(p.socket()),
		"dir " + strconv.Quote(p.dir),
		"daemonize no",
		`save ""`,
		"appendonly no",
		"repl-diskless-sync-delay 0", // replicas do not come in crowds
	}, p.config...)
	return os.WriteFile(p.file("redis.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (p *process) file(name string) string { return filepath.Join(p.dir, name) }

func (p *process) socket() string { return p.file("socket") }

// start begins a life and returns when the server answers.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != nil {
		return errors.New("server runs already")
	}
	log, err := os.Create(p.file("log"))
	if err != nil {
		return err
	}
	defer log.Close()
	// A server that was killed leaves its socket, which must not be taken for the new one's.
	if err := os.Remove(p.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}

	cmd := exec.Command(p.program, append([]string{p.file("redis.conf")}, p.flags...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	l := &life{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the starting thread for the end of the parent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(l.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	l.Process = cmd.Process
	p.life = l
	if err := p.awaitReady(); err != nil {
		_ = p.end(syscall.SIGKILL)
		return err
	}
	return nil
}

// awaitReady asks over the server's own socket, which it opens after its port: whoever else has the port
// cannot answer for it.
func (p *process) awaitReady() error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !ping(p.socket()) {
		select {
		case <-tick.C:
		case <-p.life.done:
			log := p.log()
			if strings.Contains(log, "Address already in use") {
				return fmt.Errorf("%s: %w\n%s", p.addr, errPortTaken, log)
			}
			return fmt.Errorf("%s ended at once:\n%s", p.program, log)
		case <-deadline.C:
			return fmt.Errorf("%s did not answer within %v:\n%s", p.program, startTimeout, p.log())
		}
	}
	return nil
}

// ping reports whether a server answers at socket and has its data loaded. That it refuses a stranger is an
// answer, too.
func ping(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return false
	}
	return strings.HasPrefix(reply, "+PONG") || strings.HasPrefix(reply, "-NOAUTH") || strings.HasPrefix(reply, "-NOPERM")
}

func (p *process) log() string {
	log, err := os.ReadFile(p.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// signal sends sig to a running server.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil {
		return errors.New("server does not run")
	}
	if err := p.life.Signal(sig); err != nil {
		return err
	}
	p.paused = sig == syscall.SIGSTOP
	return nil
}

// answers reports whether the server runs and is not paused.
func (p *process) answers() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life != nil && !p.paused
}

// stop sends sig, if the server runs, and waits for its end.
func (p *process) stop(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end(sig)
}

func (p *process) end(sig syscall.Signal) error {
	if p.life == nil {
		return nil
	}
	for _, sig := range []syscall.Signal{sig, syscall.SIGCONT} { // a paused process would not hear the first
		if err := p.life.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.life.done:
		p.life, p.paused = nil, false
		return nil
	case <-timeout.C:
		return fmt.Errorf("server did not end within %v of %v:\n%s", stopTimeout, sig, p.log())
	}
}

// close ends the server and removes its directory.
func (p *process) close() {
	_ = p.stop(syscall.SIGKILL) // which no process survives
	_ = os.RemoveAll(p.dir)     // of the temporary files, which the system clears as well
}

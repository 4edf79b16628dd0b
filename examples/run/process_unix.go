//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// A process is the command while it runs, with whatever it starts.
//
// It gets a process group of its own, so that a signal reaches also what it started. Not so at a terminal: there it has
// to stay in the group that may read the keyboard, and Ctrl-C and Ctrl-\ reach it, and us, without our help.
type process struct {
	cmd        *exec.Cmd
	atTerminal bool
}

func newProcess(cmd *exec.Cmd) *process {
	p := &process{cmd: cmd}
	if tty, err := os.Open("/dev/tty"); err == nil { // which exists for those who have a terminal
		_ = tty.Close()
		p.atTerminal = true
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !p.atTerminal}
	dieWithParent(cmd.SysProcAttr)
	return p
}

// forward passes a signal on. The command may have ended meanwhile, which is fine.
func (p *process) forward(s os.Signal) {
	switch {
	case !p.atTerminal:
		_ = syscall.Kill(-p.cmd.Process.Pid, s.(syscall.Signal))
	case s != syscall.SIGINT && s != syscall.SIGQUIT:
		_ = p.cmd.Process.Signal(s)
	}
}

// kill ends the process without asking.
func (p *process) kill() { p.forward(syscall.SIGKILL) }

// exitCode is what a shell would make of how the command has ended.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return signalled(status.Signal())
	}
	return state.ExitCode()
}

// signalled is the exit code of what a signal has ended.
func signalled(s os.Signal) int { return 128 + int(s.(syscall.Signal)) }

// notifySignals gives the signals that are meant for the command. What our parent had us ignore, as nohup does, we and
// the command go on ignoring.
func notifySignals() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	for _, s := range []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
	} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	return c
}

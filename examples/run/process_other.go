//go:build !unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
)

// A process is the command while it runs. Here there are neither process groups nor signals to pass on: Ctrl-C reaches
// the command as it reaches us.
type process struct{ cmd *exec.Cmd }

func newProcess(cmd *exec.Cmd) *process { return &process{cmd} }

func (p *process) forward(os.Signal) {}

func (p *process) kill() { _ = p.cmd.Process.Kill() }

func exitCode(state *os.ProcessState) int { return state.ExitCode() }

func signalled(os.Signal) int { return 130 }

func notifySignals() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, os.Interrupt)
	return c
}

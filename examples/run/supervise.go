package main

import (
	"context"
	"os"
	"os/exec"
)

// supervise runs the command until it ends, and gives its exit code. It passes the signals on, and kills the command
// as soon as held ends: the member may be somebody else's a moment later. The error says why the command did not
// start, or why it was killed.
func supervise(held context.Context, cmd *exec.Cmd, signals <-chan os.Signal) (int, error) {
	p := newProcess(cmd)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // cmd.ProcessState says more than its error
	}()
	for {
		select {
		case <-ended:
			return exitCode(cmd.ProcessState), nil
		case s := <-signals:
			p.forward(s)
		case <-held.Done():
			p.kill()
			<-ended
			return 0, context.Cause(held)
		}
	}
}

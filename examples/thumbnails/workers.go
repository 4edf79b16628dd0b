package main

import (
	"io"
	"os"
	"os/exec"
)

// workers are processes of ours. They end when their standard input does, so that none of them outlives us.
type workers struct {
	commands []*exec.Cmd
	alive    []io.Closer
}

func startWorkers(n int, run string) (*workers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := new(workers)
	for range n {
		cmd := exec.Command(self, "-worker", run)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			w.stop()
			return nil, err
		}
		w.commands, w.alive = append(w.commands, cmd), append(w.alive, in)
	}
	return w, nil
}

// kill kills the worker with a process id, as a crash would.
func (w *workers) kill(pid int) {
	for _, cmd := range w.commands {
		if cmd.Process.Pid == pid {
			_ = cmd.Process.Kill()
		}
	}
}

// stop has the workers finish what they have begun, and waits for them.
func (w *workers) stop() {
	for _, in := range w.alive {
		_ = in.Close()
	}
	for _, cmd := range w.commands {
		_ = cmd.Wait() // one was killed
	}
}

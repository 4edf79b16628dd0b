package main

import (
	"os/exec"
	"syscall"
)

// ours makes a command one that ends with us and not before. The kernel kills it when we are killed and so cannot do it
// ourselves; it takes the end of the thread that starts the command for our end, which is why main stays on one
// thread. Ctrl-C reaches us alone.
func ours(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

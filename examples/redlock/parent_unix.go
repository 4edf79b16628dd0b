//go:build unix && !linux

package main

import (
	"os/exec"
	"syscall"
)

// ours keeps Ctrl-C from a command. If we are killed, it has to be ended by hand.
func ours(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

//go:build unix && !linux

package main

import "syscall"

// dieWithParent does nothing here: a command whose run was killed goes on without its lease, and has to heed the fence.
func dieWithParent(*syscall.SysProcAttr) {}

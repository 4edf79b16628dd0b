package integration

import "syscall"

// dieWithParent has the kernel kill a worker whose test binary ended without doing that, also one that is stopped.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

package redistest

import "syscall"

// dieWithParent has the kernel kill a server whose test binary ended without stopping it.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

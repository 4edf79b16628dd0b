package stress

import "syscall"

// apart has the kernel kill a worker whose parent ended without doing that, also one that is stopped; and keeps from it what is
// typed at the parent's terminal.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

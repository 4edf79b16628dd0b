package redistest

import "syscall"

// dieWithParent has the kernel kill a server whose test binary ended without stopping it, and keeps from the server what
// is typed at the terminal: an interrupt is for the program that started it, which may still need it.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

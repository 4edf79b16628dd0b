package main

import "syscall"

// dieWithParent has the kernel kill the command when we are killed and so cannot do it ourselves. What the command
// started in turn it does not reach. The kernel takes the end of the thread that starts the command for our end,
// which is why main stays on one thread.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

//go:build !linux

package stress

import "syscall"

func apart() *syscall.SysProcAttr { return nil }

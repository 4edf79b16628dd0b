// Command run leases a member of a pool for as long as another program runs:
//
//	go run ./examples/run -pool gpus -extend gpu0,gpu1 -- sh -c 'echo on $POOL_MEMBER; train'
//
// Start it in three terminals: two commands run, the third waits in line until one of them ends. The command finds in
// its environment
//
//	POOL_MEMBER    what it may use
//	POOL_FENCE     a number larger than that of everyone who had the member before
//	POOL_DEADLINE  until when it is leased, if it is not renewed: run renews it
//
// Signals are passed on to the command, and its exit code is that of run. When the lease is lost, because Redis could not
// be reached in time or an administrator took the member away, the command is killed before anybody else gets
// the member. When run itself is killed, the command dies with it (on Linux), and the next in line has the member as
// soon as the lease has run out. Nobody has to clean up.
//
// Otherwise run exits with 124 if nothing was free within -wait, 125 if something else went wrong, 126 if the command
// could not be run and 127 if there is no such command.
package main

import (
	"os"
	"runtime"
)

func main() {
	runtime.LockOSThread() // see dieWithParent
	os.Exit(run(os.Args[1:], os.Stderr))
}

package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// asProgram in the environment makes this binary the command itself, as a user would start it.
const asProgram = "RUN_AS_PROGRAM"

// program starts the command.
func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	redistest.Main(m)
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// program is this command, as a user would build it.
var program string

func TestMain(m *testing.M) {
	os.Exit(withProgram(redistest.Wrap(m).Run))
}

func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "run")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return run()
}

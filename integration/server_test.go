package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// containerRequested is true when the tests are to use a server in a container whatever else there is.
var containerRequested = os.Getenv("INTEGRATION_SERVER") == "container"

func TestMain(m *testing.M) {
	if code, ok := work(); ok {
		os.Exit(code)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	_, missing := redistest.Program()
	if containerRequested || missing != nil && os.Getenv("REDIS_URL") == "" {
		url, stop, err := startContainer(context.Background())
		defer stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, "server in a container:", err)
			return 1
		}
		if err := os.Setenv("REDIS_URL", url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := redistest.Wrap(m).Run()
	if code == 0 && !containerRequested {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

func TestRequestedContainerIsUsed(t *testing.T) {
	url := redistest.URL(t)
	if !containerRequested {
		return
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "redis://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "INFO server\r\n")
	var info strings.Builder
	for buf := make([]byte, 1<<12); !strings.Contains(info.String(), "process_id:1\r\n"); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%v: no server that is the first process of a container: %s", err, &info)
		}
		info.Write(buf[:n])
	}
}

package integration

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
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
	if err := waitSideBySide(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := redistest.Wrap(m).Run()
	if code == 0 && !containerRequested {
		if err := leaks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// waitSideBySide has more tests run at a time than there are processors, unless a flag says how many, because most of
// them wait most of the time.
func waitSideBySide() error {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if chosen {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(max(20, 2*runtime.GOMAXPROCS(0))))
}

// leaks finds goroutines that do not end, however slow the machine is.
func leaks() error {
	for begin := time.Now(); ; {
		err := goleak.Find() // which itself waits for a moment
		if err == nil || time.Since(begin) > patience/2 {
			return err
		}
	}
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

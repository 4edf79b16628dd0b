package redistest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestServerDoesNotOutliveItsTestBinary starts this test alone in a second process, which starts a server,
// tells its address to the first, and is killed.
func TestServerDoesNotOutliveItsTestBinary(t *testing.T) {
	const reportTo = "REDISTEST_REPORT_TO"
	if addr := os.Getenv(reportTo); addr != "" {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintln(conn, redistest.Start(t).Addr())
		_, _ = io.Copy(io.Discard, conn) // until the first process is done
		return
	}

	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}

	second := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	second.Env = append(os.Environ(), reportTo+"="+l.Addr().String(), "TMPDIR="+t.TempDir())
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = second.Process.Kill()
		_ = second.Wait()
	}()

	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	addr, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, strings.TrimSpace(addr))
	c.do("PING", "+PONG")
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.expectEnd()
}

// TestServerIsNotInterruptedWithItsTestBinary looks at the process group, all of which an interrupt from the terminal goes to.
func TestServerIsNotInterruptedWithItsTestBinary(t *testing.T) {
	t.Parallel()
	pidFile := t.TempDir() + "/pid"
	redistest.Start(t, redistest.Config("pidfile "+pidFile))
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if group, err := syscall.Getpgid(pid); err != nil || group == syscall.Getpgrp() {
		t.Fatalf("group %d (%v), and that of the test binary is %d", group, err, syscall.Getpgrp())
	}
}

package benchmarks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// inTurn gives a lock of this process alone, for n clients; inside is how many are in it.
func inTurn(n int, inside *atomic.Int64) []waiter {
	turn := make(chan struct{}, 1)
	all := make([]waiter, n)
	for i := range all {
		all[i] = func(ctx context.Context) (func() error, error) {
			select {
			case turn <- struct{}{}:
				inside.Add(1)
				return func() error {
					inside.Add(-1)
					<-turn
					return nil
				}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return all
}

func TestPassOnCountsEachAcquisition(t *testing.T) {
	var inside atomic.Int64
	p, err := passOn(t.Context(), inTurn(4, &inside), 40, 0)
	if err != nil || p.grants() != 40 || len(p.gaps) != 39 || inside.Load() != 0 {
		t.Errorf("%v acquisitions, %d gaps, %d still hold it, error %v", p.grants(), len(p.gaps), inside.Load(), err)
	}
	p.counts = []float64{8, 10, 9}
	if p.share() != 0.8 {
		t.Errorf("8 of 10 is a share of %v", p.share())
	}
}

func TestPassOnEndsWithAFailure(t *testing.T) {
	failure := errors.New("no")
	clients := inTurn(3, new(atomic.Int64))
	clients[1] = func(context.Context) (func() error, error) { return nil, failure }
	if _, err := passOn(t.Context(), clients, 1_000_000, 0); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

func TestContendersDoAsTheyAreTold(t *testing.T) {
	b := bench{url: redistest.URL(t)}
	defer b.close()
	for d := 200 * time.Millisecond; ; d *= 4 { // until a slow machine has come so far
		var out strings.Builder
		told := fmt.Sprintf("ours %v\nother %v\nours never\n", d, d)
		if err := b.serveContention(t.Context(), redistest.Prefix(t), strings.NewReader(told), &out); err == nil {
			t.Error("never is no duration")
		}
		var ready, ours, other float64
		if n, _ := fmt.Sscan(out.String(), &ready, &ours, &other); n == 3 && ours > 0 && other > 0 {
			break
		}
		if d > 10*time.Second {
			t.Fatalf("got %q", &out)
		}
	}
	if err := b.serveContention(t.Context(), redistest.Prefix(t), strings.NewReader("nobody 20ms\n"), io.Discard); err == nil {
		t.Error("nobody is no side")
	}
}

func TestAContenderThatCannotIsHeard(t *testing.T) {
	b := bench{Options: tiny(), url: "redis://127.0.0.1:1"}
	defer b.close()
	ns, err := new(bench).space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.startContender(t.Context(), ns); err == nil || !strings.Contains(err.Error(), "failed") {
		t.Errorf("got %v", err)
	}
}

func TestABlackHoleSwallows(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()
	hole, err := newBlackHole("redis://" + server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer hole.close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(hole.url, "redis://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	fmt.Fprintln(conn, "passes")
	if line, err := replies.ReadString('\n'); err != nil || line != "passes\n" {
		t.Errorf("got %q, %v", line, err)
	}
	hole.open.Store(true)
	fmt.Fprintln(conn, "vanishes")
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if line, err := replies.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v", line, err)
	}
}

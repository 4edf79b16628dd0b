package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"time"

	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/lock"
)

// servers are what locks are kept on.
type servers struct {
	backends []lock.RedlockBackend
	names    []string // for errors
	closers  []func()
}

func (s *servers) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// openServers opens those at urls, or three that it starts itself, or three in memory.
func openServers(ctx context.Context, urls []string, out io.Writer) (*servers, error) {
	s := new(servers)
	if len(urls) == 0 {
		program, err := findProgram()
		if err != nil {
			fmt.Fprintln(out, "locks are kept in memory:", err)
			for i := range 3 {
				be := memory.New()
				s.backends = append(s.backends, be)
				s.names = append(s.names, fmt.Sprintf("memory %d", i))
				s.closers = append(s.closers, func() { _ = be.Close() })
			}
			return s, nil
		}
		for range 3 {
			url, err := s.start(program)
			if err != nil {
				s.close()
				return nil, err
			}
			urls = append(urls, url)
		}
	}
	var dialled []*server
	for _, text := range urls {
		srv := dial(text)
		dialled = append(dialled, srv)
		s.backends = append(s.backends, srv)
		s.names = append(s.names, redacted(text))
		s.closers = append(s.closers, srv.close)
	}
	for i, srv := range dialled {
		if err := srv.wait(ctx, time.Second); err != nil {
			fmt.Fprintf(out, "%s is away: %v\n", s.names[i], err) // the others will do, and it is tried again
			continue
		}
		fmt.Fprintln(out, "locks are kept on", s.names[i])
	}
	return s, nil
}

func findProgram() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("REDIS_URLS is not set, and there is no redis-server on PATH")
}

// start starts a Redis server on a free port, which ends with us.
func (s *servers) start(program string) (url string, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := free.Addr().(*net.TCPAddr)
	_ = free.Close()
	dir, err := os.MkdirTemp("", "redlock")
	if err != nil {
		return "", err
	}
	s.closers = append(s.closers, func() { _ = os.RemoveAll(dir) })
	// A server that came back without what it had granted would grant it again, so each change is on disk before it is
	// answered.
	cmd := exec.Command(program, "--bind", "127.0.0.1", "--port", fmt.Sprint(addr.Port), "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always")
	ours(cmd)
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.closers = append(s.closers, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "redis://" + addr.String(), nil
}

// redacted is a URL without its password.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(a bad URL)"
	}
	return u.Redacted()
}

package rueidis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeServer greets as a Redis does, and then answers what it is told to.
type fakeServer struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}

	// answer gives the bytes for a request that is no part of the greeting, and whether to hang up after them. Nil: as
	// an empty server would. guarded by mu.
	answer func(words []string) (frame string, hangUp bool)
}

// newFakeServer gives one on 127.0.0.1 that close ends.
func newFakeServer(t testing.TB) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &fakeServer{listener: l, conns: make(map[net.Conn]struct{})}
	s.wg.Go(s.accept)
	return s
}

func (s *fakeServer) url() string { return "redis://" + s.listener.Addr().String() }

// close ends all connections and waits for the goroutines.
func (s *fakeServer) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// set changes what the server answers.
func (s *fakeServer) set(answer func(words []string) (string, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *fakeServer) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

func (s *fakeServer) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		words, err := readRequest(r)
		if err != nil {
			return
		}
		frame, hangUp := s.reply(words)
		if _, err := io.WriteString(c, frame); err != nil || hangUp {
			return
		}
	}
}

func (s *fakeServer) reply(words []string) (frame string, hangUp bool) {
	switch strings.ToUpper(words[0]) {
	case "HELLO":
		return "%3\r\n+server\r\n+redis\r\n+version\r\n+7.4.0\r\n+proto\r\n:3\r\n", false
	case "CLIENT", "SELECT", "AUTH", "SCRIPT":
		return "+OK\r\n", false
	case "PING":
		return "+PONG\r\n", false
	case "INFO":
		return bulk("# Server\r\nredis_version:7.4.0\r\nredis_mode:standalone\r\n"), false
	case "CLUSTER":
		return "-ERR This instance has cluster support disabled\r\n", false
	case "COMMAND":
		return "*0\r\n", false
	case "SUBSCRIBE":
		return ">3\r\n+subscribe\r\n" + bulk(words[1]) + ":1\r\n", false
	case "UNSUBSCRIBE":
		return ">3\r\n+unsubscribe\r\n" + bulk(words[1]) + ":0\r\n", false
	}
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		return "*0\r\n", false
	}
	return answer(words)
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// readRequest reads an array of strings.
func readRequest(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r, '*')
	if err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		size, err := readLength(r, '$')
		if err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		words[i] = string(text[:size])
	}
	return words, nil
}

func readLength(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, errors.New("no request: " + strconv.Quote(line))
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

package rueidis

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestOpenURLs(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := newRoom(t, s.URL())
	config, err := r.do("CONFIG", "GET", "unixsocket").AsStrMap()
	require.NoError(t, err)
	for _, url := range []string{
		s.URL(), s.URL() + "/0", s.URL() + "/3", strings.Replace(s.URL(), "redis://", "valkey://", 1),
		s.URL() + "?protocol=2", s.URL() + "?client_name=test", "unix://" + config["unixsocket"] + "?db=5",
	} {
		b := r.process(url)
		r.furnish(b)
		r.sound(b)
		require.NoError(t, b.Close())
		r.do("FLUSHALL")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "redis://" + l.Addr().String()
	require.NoError(t, l.Close())
	for _, c := range []struct {
		url  string
		want error
		opts []Option
	}{
		{url: nobody, want: backend.ErrUnavailable},
		{url: strings.Replace(nobody, "redis", "rediss", 1), want: backend.ErrUnavailable},
		{url: redistest.URL(t), want: backend.ErrInvalid, opts: []Option{CallTimeout(0)}},
		{url: redistest.URL(t), want: backend.ErrInvalid, opts: []Option{CallTimeout(-1)}},
		{url: strings.Replace(redistest.URL(t), "redis://", "redis://nobody:wrong@", 1), want: backend.ErrPermission},
		{url: "ftp://127.0.0.1", want: backend.ErrInvalid},
		{url: "127.0.0.1:6379", want: backend.ErrInvalid},
		{url: "redis://me:secret@127.0.0.1/x", want: backend.ErrInvalid},
		{url: "::", want: backend.ErrInvalid},
		{url: "redis://me:secret@127.0.0.1:x", want: backend.ErrInvalid},
	} {
		b, err := Open(t.Context(), c.url, c.opts...)
		require.Error(t, err, c.url)
		require.Nil(t, b)
		require.ErrorIs(t, err, c.want, c.url)
		require.NotContains(t, err.Error(), "secret")
	}
}

// TestOpenHonoursContext opens a server that accepts and never answers.
func TestOpenHonoursContext(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn := <-accepted // the client is under way
		cancel()
		conn.Close()
	}()
	begin := time.Now()
	b, err := Open(ctx, "redis://"+l.Addr().String())
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, b)
	require.Less(t, time.Since(begin), soon)
	require.NoError(t, l.Close())
	for conn := range accepted {
		conn.Close()
	}

	b, err = Open(ctx, redistest.URL(t))
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, b)
}

// versionServer answers as a server of some version, until the test ends. Without hello it does not know HELLO, without
// info it does not allow INFO.
func versionServer(t *testing.T, hello, info string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { _ = l.Close() })
	answer := func(words []string) string {
		switch strings.ToUpper(words[0]) {
		case "HELLO":
			name, version, ok := strings.Cut(hello, " ")
			if !ok {
				return "-ERR unknown command `HELLO`\r\n"
			}
			return "%3\r\n" + bulk("server") + bulk(name) + bulk("version") + bulk(version) + bulk("proto") + ":3\r\n"
		case "INFO":
			if info == "" {
				return "-NOPERM this user has no permissions to run the 'info' command\r\n"
			}
			return bulk("# Server\r\n" + info + "\r\n")
		case "EVAL":
			return "*0\r\n"
		case "EVALSHA":
			return "-NOSCRIPT No matching script\r\n"
		case "CLUSTER":
			return "-ERR This instance has cluster support disabled\r\n"
		}
		return "+OK\r\n"
	}
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					words, err := readRequest(r)
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, answer(words)); err != nil {
						return
					}
				}
			})
		}
	})
	return "redis://" + l.Addr().String()
}

// TestOpenVersions lets a server tell different versions of itself.
func TestOpenVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hello, info string
		old         bool
	}{
		{hello: "redis 7.0.15"},
		{hello: "redis 6.2.0"},
		{hello: "redis 6.10.1"},
		{hello: "redis 10.0.0"},
		{hello: "redis unknown"},
		{hello: "valkey 7.2.4"},
		{hello: "valkey 1.0.0"},
		{hello: "somethingelse 0.1.0"},
		{hello: "redis 6.0.16", old: true},
		{hello: "redis 5.9.9", old: true},
		{info: "redis_version:6.2.6"},
		{info: "redis_version:6.0.1", old: true},
		{info: "redis_version:6.0.1\r\nvalkey_version:8.0.0"},
		{info: "something"},
		{},
	} {
		url := versionServer(t, c.hello, c.info)
		b, err := Open(t.Context(), url)
		if c.old {
			assert.ErrorIs(t, err, backend.ErrUnsupported, "%+v", c)
			assert.ErrorContains(t, err, "older than 6.2")
			continue
		}
		if assert.NoError(t, err, "%+v", c) {
			assert.NoError(t, b.Close())
		}
	}
}

// TestNew shows that a client that is the caller's stays open.
func TestNew(t *testing.T) {
	t.Parallel()
	url := redistest.URL(t)
	r := newRoom(t, url)
	b, err := New(t.Context(), r.raw)
	require.NoError(t, err)
	r.furnish(b)
	for _, m := range methods() {
		require.NoError(t, m.do(t.Context(), b, r.ns), m.name)
	}
	require.NoError(t, b.Close())
	require.NoError(t, r.do("PING").Error())
	b, err = New(t.Context(), r.raw)
	require.NoError(t, err)
	require.NoError(t, b.Close())

	closed, err := rueidis.NewClient(rueidis.MustParseURL(url))
	require.NoError(t, err)
	closed.Close()
	_, err = New(t.Context(), closed)
	require.ErrorIs(t, err, backend.ErrUnavailable)
	_, err = New(t.Context(), r.raw, CallTimeout(-time.Second))
	require.ErrorIs(t, err, backend.ErrInvalid)
}

// TestMethodsOnCluster shows that on a Cluster a namespace needs its hash tag, and then works as elsewhere.
func TestMethodsOnCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 1, 0)
	r := newRoom(t, cluster.URL())
	b := r.process(cluster.Nodes()[0].URL())
	require.True(t, b.cluster)
	for _, m := range methods() {
		if err := m.do(t.Context(), b, r.ns); !errors.Is(err, backend.ErrUnsupported) {
			t.Errorf("%s without a hash tag: %v", m.name, err)
		}
	}
	require.Empty(t, r.dump())

	r.ns.HashTag = true
	r.furnish(b)
	for _, m := range methods() {
		require.NoError(t, m.do(t.Context(), b, r.ns), m.name)
	}
}

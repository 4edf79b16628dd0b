package integration

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/rueidis"
	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestTopologyTLS has work of all kinds go on over TLS while the server is restarted with its data. Who shows no
// certificate, or one that the server does not know, or does not know the server's own, is told so when he opens.
func TestTopologyTLS(t *testing.T) {
	t.Parallel()
	server, stranger := redistest.Start(t, redistest.TLS(), redistest.AppendOnly()), redistest.Start(t, redistest.TLS())
	option := parsed(t, server.URL())
	for _, c := range []struct {
		what   string
		change func(*tls.Config)
	}{
		// The server's refusal may be overtaken by the end of the connection, and has no text then.
		{"", func(c *tls.Config) { c.Certificates = nil }},
		{"", func(c *tls.Config) { c.Certificates = stranger.TLSConfig().Certificates }},
		{"signed by unknown authority", func(c *tls.Config) { c.RootCAs = nil }},
		{"certificate is valid for 127.0.0.1", func(c *tls.Config) { c.ServerName = "127.0.0.2" }},
	} {
		bad := option
		bad.TLSConfig = server.TLSConfig()
		c.change(bad.TLSConfig)
		bad.Dialer.Timeout = patience
		_, err := rueidis.OpenOption(context.Background(), bad, rueidis.CallTimeout(patience))
		require.ErrorIs(t, err, backend.ErrUnavailable, c.what)
		assert.ErrorContains(t, err, c.what)
	}

	option.TLSConfig = server.TLSConfig()
	slow := rueidis.CallTimeout(patience)
	be, other := openOption(t, option, slow), openOption(t, option, slow)
	tr := startTraffic(t, newNamespace(t), be, other)
	tr.goesOn("before")
	kept := startKept(t, newNamespace(t), be, other)
	tr.roughly("restart", func() {
		server.Restart()
		kept.check()
	})
	tr.end(other)
}

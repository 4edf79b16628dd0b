package rueidis

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
)

// asked calls something each time that somebody wants to know its end.
type asked struct {
	context.Context
	call func()
}

func (a asked) Done() <-chan struct{} {
	a.call()
	return a.Context.Done()
}

// TestDialWhileOpenEnds: the client of a Cluster is made as soon as one node answers; others are dialled still.
func TestDialWhileOpenEnds(t *testing.T) {
	t.Parallel()
	dialled := 0
	c := &cutter{ctx: t.Context(), dial: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
		dialled++
		conn, _ := net.Pipe()
		return conn, nil
	}}
	conn, err := c.connect(asked{t.Context(), c.done}, "", nil, nil)
	if assert.NoError(t, err) {
		conn.Close()
	}
	assert.Equal(t, 1, dialled)
	assert.Empty(t, c.conns, "nobody cuts it any more")
}

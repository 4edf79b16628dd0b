package rueidis

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/redis/rueidis"
)

// connect makes a client. The client's own constructor knows no context: its connections are cut when ctx ends.
func connect(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ctx.Done() == nil {
		return rueidis.NewClient(option)
	}
	c := &cutter{ctx: ctx, dial: dialer(option)}
	option.DialCtxFn = c.connect
	stop := context.AfterFunc(ctx, c.cut)
	client, err := rueidis.NewClient(option)
	stop()
	if c.done(); ctx.Err() != nil {
		if err == nil {
			client.Close()
		}
		return nil, ctx.Err()
	}
	return client, err
}

type dialFunc func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)

// dialer is how the client would dial by itself.
func dialer(option rueidis.ClientOption) dialFunc {
	switch {
	case option.DialCtxFn != nil:
		return option.DialCtxFn
	case option.DialFn != nil:
		dial := option.DialFn
		return func(_ context.Context, addr string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
			return dial(addr, d, conf)
		}
	}
	return func(ctx context.Context, addr string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
		if conf != nil {
			return (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(ctx, "tcp", addr)
		}
		return d.DialContext(ctx, "tcp", addr)
	}
}

// cutter knows the connections that are made while a client is made.
type cutter struct {
	ctx  context.Context //nolint:containedctx // it ends what has no context of its own
	dial dialFunc

	mu    sync.Mutex
	conns []net.Conn
	over  bool // the client is made
}

func (c *cutter) connect(ctx context.Context, addr string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
	c.mu.Lock()
	over, opening := c.over, c.ctx
	c.mu.Unlock()
	if over {
		return c.dial(ctx, addr, d, conf)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(opening, cancel)()
	conn, err := c.dial(ctx, addr, d, conf)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		if err := c.ctx.Err(); err != nil {
			conn.Close()
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	return conn, nil
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
}

func (c *cutter) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over, c.conns, c.ctx = true, nil, nil
}

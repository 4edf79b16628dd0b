package rueidis

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// Open connects to the server or servers that url names:
//
//	redis://user:password@host:6379/0             a single server; also a node of a Cluster, which is found out
//	rediss://...                                  the same over TLS
//	unix:///run/redis/redis.sock?db=0             the same over a socket
//	redis://host1:6379?addr=host2:6379&addr=...   several nodes of a Cluster
//	redis://host1:26379?master_set=name&addr=...  Sentinels and the name of what they watch
//
// valkey and valkeys are other names for redis and rediss. Parameters: db, addr (again and again), master_set,
// client_name, dial_timeout, write_timeout, skip_verify (of a certificate), protocol (2 for RESP2). What a URL cannot
// say, [OpenOption] can.
//
// Open fails if the URL is none ([backend.ErrInvalid]), if the server cannot be reached ([backend.ErrUnavailable]), is older
// than Redis 6.2 ([backend.ErrUnsupported]), or refuses the user a command that the backend needs ([backend.ErrPermission];
// the text names all of them, see [ACLRules]). Which keys the user may touch shows when they are used. It honours ctx, whose
// end does not matter to the backend afterwards.
func Open(ctx context.Context, url string, opts ...Option) (*Backend, error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("rueidis: open: %w", invalidURL(url, err))
	}
	return OpenOption(ctx, option, opts...)
}

// invalidURL says what is wrong with a URL, without its password.
func invalidURL(text string, err error) error {
	shown := "..."
	if u, err := url.Parse(text); err == nil {
		shown = u.Redacted()
	}
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	return &backend.InvalidError{Field: "url", Value: strconv.Quote(shown), Reason: err.Error()}
}

// OpenOption is [Open] with everything that the client can be told. Client-side caching is up to [Tracking], whatever
// option says of it; ConnWriteTimeout, which is how long a silent connection is believed in, is by default that of
// [CallTimeout].
func OpenOption(ctx context.Context, option rueidis.ClientOption, opts ...Option) (*Backend, error) {
	b := newBackend(opts)
	if err := b.opts.validate(); err != nil {
		return nil, fmt.Errorf("rueidis: open: %w", err)
	}
	if option.ConnWriteTimeout == 0 {
		option.ConnWriteTimeout = b.opts.callTimeout
	}
	b.trackWith(&option)
	client, err := connect(ctx, option)
	if errors.Is(err, rueidis.ErrNoCache) {
		b.untrack(err)
		b.opts.tracking = false
		b.trackWith(&option)
		client, err = connect(ctx, option)
	}
	if err != nil {
		return nil, opening(ctx, err)
	}
	b.own = true
	if err := b.begins(ctx, client); err != nil {
		client.Close()
		return nil, err
	}
	b.allowWires(option)
	return b, nil
}

// New makes a backend of a client that stays the caller's: Close leaves it open, and it must stay open until then. One of
// its dedicated connections is the backend's meanwhile. [Tracking] has no effect. Otherwise it is [Open].
func New(ctx context.Context, client rueidis.Client, opts ...Option) (*Backend, error) {
	b := newBackend(opts)
	if err := b.opts.validate(); err != nil {
		return nil, fmt.Errorf("rueidis: open: %w", err)
	}
	if err := b.begins(ctx, client); err != nil {
		return nil, err
	}
	return b, nil
}

func newBackend(opts []Option) *Backend {
	b := &Backend{process: backend.NewToken(), opts: newOptions(opts), spaces: make(map[backend.Namespace]*space)}
	b.log = b.opts.log
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// begins checks what the client leads to and starts what runs in the background.
func (b *Backend) begins(ctx context.Context, client rueidis.Client) error {
	b.client = client
	b.cluster = client.Mode() == rueidis.ClientModeCluster
	err := b.check(ctx)
	if err == nil {
		err = b.openLines(ctx)
	}
	if err != nil {
		_ = b.close(false)
		return opening(ctx, err)
	}
	return nil
}

// opening completes an error of the construction.
func opening(ctx context.Context, err error) error {
	if over := ctx.Err(); over != nil && !isReply(err) {
		return fmt.Errorf("rueidis: open: %w", over)
	}
	if reply, ok := rueidis.IsRedisErr(err); ok {
		if sentinel := classifyReply(reply.Error()); sentinel != nil {
			return fmt.Errorf("rueidis: open: %w: %w", sentinel, err)
		}
		return fmt.Errorf("rueidis: open: %w", err)
	}
	for _, known := range []error{backend.ErrUnsupported, backend.ErrPermission, backend.ErrUnavailable} {
		if errors.Is(err, known) {
			return fmt.Errorf("rueidis: open: %w", err)
		}
	}
	return fmt.Errorf("rueidis: open: %w: %w", backend.ErrUnavailable, err)
}

package rueidis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// errUnending says that the server has asked for patience too often.
var errUnending = errors.New("no end of members that are not free in the way")

// errOverdue is what a call gets that had no answer within its bound.
var errOverdue = errors.New("no answer in time")

// fail maps what a call gave to the errors of the contract and wraps it with what was attempted. nil stays nil. If
// ctx, that of the caller, is over, the error is its.
func (b *Backend) fail(ctx context.Context, op string, ns backend.Namespace, err error) error {
	if err == nil {
		return nil
	}
	if over := ctx.Err(); over != nil && !isReply(err) {
		return wrap(op, ns, over)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = errOverdue // ours, not the caller's
	}
	switch sentinel := b.classify(err); {
	case sentinel == nil, errors.Is(err, sentinel):
		return wrap(op, ns, err)
	case errors.Is(sentinel, backend.ErrPermission):
		return wrap(op, ns, fmt.Errorf("%w: %w (the namespace needs the rules %s)", sentinel, err, rules(ns)))
	default:
		return wrap(op, ns, fmt.Errorf("%w: %w", sentinel, err))
	}
}

func wrap(op string, ns backend.Namespace, err error) error {
	const readable = 100
	name := ns.String()
	if len(name) > readable {
		name = name[:readable] + "..."
	}
	return fmt.Errorf("rueidis: %s %q: %w", op, name, err)
}

// classify gives the error of the contract that err amounts to, nil if it is none of them.
func (b *Backend) classify(err error) error {
	var invalid *backend.InvalidError
	switch reply, ok := rueidis.IsRedisErr(err); {
	case ok && !reply.IsNil():
		return classifyReply(reply.Error())
	case errors.As(err, &invalid):
		return backend.ErrInvalid
	case errors.Is(err, backend.ErrClosed), b.isClosed() && errors.Is(err, rueidis.ErrClosing):
		return backend.ErrClosed
	case errors.Is(err, backend.ErrUnsupported):
		return backend.ErrUnsupported
	case errors.Is(err, backend.ErrConflict):
		return backend.ErrConflict
	case errors.Is(err, backend.ErrLimit):
		return backend.ErrLimit
	case errors.Is(err, backend.ErrReplicas):
		return backend.ErrReplicas
	case rueidis.IsParseErr(err):
		return nil
	default:
		return backend.ErrUnavailable
	}
}

// classifyReply does so for what the server answered. The text of an error inside a script stands at the front
// since Redis 7 and somewhere inside before.
func classifyReply(text string) error {
	for _, c := range replies {
		if strings.Contains(text, c.text) {
			return c.err
		}
	}
	return nil
}

var replies = []struct {
	text string
	err  error
}{
	{"WRONGTYPE", backend.ErrWrongType},
	{"NOTNUMBER", backend.ErrNotNumber},
	{"NOPERM", backend.ErrPermission},
	{"ACL failure in script", backend.ErrPermission},
	{"The user executing the script can't", backend.ErrPermission},
	{"NOAUTH", backend.ErrPermission},
	{"WRONGPASS", backend.ErrPermission},
	{"LOADING", backend.ErrUnavailable},
	{"READONLY", backend.ErrUnavailable},
	{"read only replica", backend.ErrUnavailable},
	{"CLUSTERDOWN", backend.ErrUnavailable},
	{"MASTERDOWN", backend.ErrUnavailable},
	{"TRYAGAIN", backend.ErrUnavailable},
	{"MOVED ", backend.ErrUnavailable},
	{"non local key", backend.ErrUnavailable},
	{"ASK ", backend.ErrUnavailable},
	{"BUSY", backend.ErrUnavailable},
	{"MISCONF", backend.ErrUnavailable},
	{"NOREPLICAS", backend.ErrUnavailable},
	{"OOM command not allowed", backend.ErrUnavailable},
	{"max number of clients", backend.ErrUnavailable},
	{"unknown command", backend.ErrUnsupported},
	{"Unknown Redis command", backend.ErrUnsupported},
}

// isReply reports whether the server answered, which says that nothing has happened: the scripts write last.
func isReply(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	return ok && !reply.IsNil()
}

// faulty reports whether the server refuses a call for what may be the fault of one part of it alone: a key of the wrong
// type, or one that it may not touch.
func (b *Backend) faulty(err error) bool {
	if !isReply(err) {
		return false
	}
	why := b.classify(err)
	return errors.Is(why, backend.ErrWrongType) || errors.Is(why, backend.ErrPermission)
}

// rules are the ACL rules that a namespace needs, without the commands.
func rules(ns backend.Namespace) string {
	base := escapeGlob(ns.Base())
	return "~" + base + "* &" + base + "|*"
}

// escapeGlob makes a pattern of a name that matches nothing else.
func escapeGlob(name string) string {
	if !strings.ContainsAny(name, `*?[]\`) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if strings.IndexByte(`*?[]\`, name[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

package rueidis

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// Get implements [backend.Values]: one round trip, or none for what [Tracking] has in its cache.
func (b *Backend) Get(ctx context.Context, req backend.GetRequest) ([]backend.Value, error) {
	sp, err := b.ready(ctx, "get", req.Namespace, req.Validate())
	if err != nil {
		return nil, err
	}
	prefix := req.Kind.Prefix(req.Namespace)
	keys := make([]string, len(req.Names))
	for i, name := range req.Names {
		keys[i] = prefix + name
	}
	values, ok, asked, err := b.cached(ctx, keys)
	if ok {
		return values, b.fail(ctx, "get", sp.ns, err)
	}
	reply, err := b.exec(ctx, "get", sp.ns, getScript, keys, nil)
	if err != nil {
		return nil, err
	}
	asked()
	list, err := reply.ToArray()
	if err != nil || len(list) != 2*len(keys) {
		return nil, b.fail(ctx, "get", sp.ns, unexpected("get", &reply))
	}
	values = make([]backend.Value, len(keys))
	for i := range values {
		value, left := &list[2*i], &list[2*i+1]
		if value.IsNil() {
			continue
		}
		v := &values[i]
		var ms int64
		if into(value, &v.Value) != nil || into(left, &ms) != nil {
			return nil, b.fail(ctx, "get", sp.ns, unexpected("get", &reply))
		}
		v.Exists, v.TTL = true, remaining(ms)
	}
	return values, nil
}

// Set implements [backend.Values]: one round trip.
func (b *Backend) Set(ctx context.Context, req backend.SetRequest) (backend.SetReply, error) {
	sp, err := b.ready(ctx, "set", req.Namespace, req.Validate())
	if err != nil {
		return backend.SetReply{}, err
	}
	prefix := req.Kind.Prefix(req.Namespace)
	keys := make([]string, 0, len(req.Items)+1)
	argv := make([]string, 0, 4*len(req.Items)+2)
	argv = append(argv, flag(req.Each), flag(req.Fence))
	for i := range req.Items {
		it := &req.Items[i]
		keys = append(keys, prefix+it.Name)
		argv = append(argv, it.Value, strconv.FormatInt(backend.Millis(it.TTL), 10), itoa(int(it.Cond)), it.Operand)
	}
	keys = append(keys, req.Namespace.Fence())
	reply, err := b.exec(ctx, "set", sp.ns, setScript, keys, argv)
	if err != nil {
		return backend.SetReply{}, err
	}
	got, err := decodeSet(&reply, len(req.Items), req.Fence)
	return got, b.fail(ctx, "set", sp.ns, err)
}

func decodeSet(m *rueidis.RedisMessage, n int, fenced bool) (reply backend.SetReply, err error) {
	list, err := m.ToArray()
	if err != nil || len(list) == 0 {
		return reply, unexpected("set", m)
	}
	var text string
	if err := into(&list[0], &text); err != nil {
		return reply, unexpected("set", m)
	}
	set, _, err := digits(text, n)
	if err != nil {
		return reply, err
	}
	if fenced {
		if len(list) != n+1 {
			return reply, unexpected("set", m)
		}
		reply.Fences = make([]int64, n)
		for i := range reply.Fences {
			if err := into(&list[i+1], &reply.Fences[i]); err != nil {
				return backend.SetReply{}, unexpected("set", m)
			}
		}
	}
	reply.Set = set
	return reply, nil
}

// Delete implements [backend.Values]: one round trip.
func (b *Backend) Delete(ctx context.Context, req backend.DeleteRequest) (backend.DeleteReply, error) {
	sp, err := b.ready(ctx, "delete", req.Namespace, req.Validate())
	if err != nil {
		return backend.DeleteReply{}, err
	}
	prefix := req.Kind.Prefix(req.Namespace)
	keys := make([]string, 0, len(req.Items))
	argv := make([]string, 0, 2*len(req.Items)+1)
	argv = append(argv, flag(req.Each))
	for i := range req.Items {
		keys = append(keys, prefix+req.Items[i].Name)
		argv = append(argv, itoa(int(req.Items[i].Cond)), req.Items[i].Operand)
	}
	reply, err := b.exec(ctx, "delete", sp.ns, deleteScript, keys, argv)
	if err != nil {
		return backend.DeleteReply{}, err
	}
	deleted, err := allDigits("delete", &reply, len(req.Items))
	return backend.DeleteReply{Deleted: deleted}, b.fail(ctx, "delete", sp.ns, err)
}

// scanLimit is the default of ScanRequest.Limit.
const scanLimit = 100

// Scan implements [backend.Values]: one round trip. It needs the right to call SCAN, which [Open] does not check.
func (b *Backend) Scan(ctx context.Context, req backend.ScanRequest) (backend.ScanReply, error) {
	sp, err := b.ready(ctx, "scan", req.Namespace, req.Validate())
	if err != nil {
		return backend.ScanReply{}, err
	}
	cursor, err := pageCursor(req.Cursor)
	if err != nil {
		return backend.ScanReply{}, b.fail(ctx, "scan", sp.ns, err)
	}
	limit := req.Limit
	if limit == 0 {
		limit = scanLimit
	}
	prefix := req.Kind.Prefix(req.Namespace)
	argv := []string{prefix, escapeGlob(prefix) + "*", cursor, itoa(limit)}
	reply, err := b.exec(ctx, "scan", sp.ns, scanScript, with(sp.keys[:1], sp.none...), argv)
	if err != nil {
		return backend.ScanReply{}, err
	}
	list, err := reply.AsStrSlice()
	if err != nil || len(list) == 0 {
		return backend.ScanReply{}, b.fail(ctx, "scan", sp.ns, unexpected("scan", &reply))
	}
	return backend.ScanReply{Cursor: list[0], Names: list[1:]}, nil
}

// pageCursor checks a cursor that comes from an earlier page.
func pageCursor(cursor string) (string, error) {
	if cursor == "" {
		return "0", nil
	}
	if _, err := strconv.ParseUint(cursor, 10, 64); err != nil {
		return "", &backend.InvalidError{Field: "cursor", Value: strconv.Quote(cursor), Reason: "came from no reply"}
	}
	return cursor, nil
}

func itoa(n int) string { return strconv.Itoa(n) }

func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

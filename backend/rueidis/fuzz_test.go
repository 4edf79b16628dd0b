package rueidis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/redisallocator/redisallocator/backend"
)

// fuzzBound is how long one operation, or Close, may take, whatever the server answers.
const fuzzBound = time.Minute

// reply is what the fake server answers in one run, made of the fuzzer's bytes.
type reply struct {
	frame  string
	hangUp bool
	texts  map[string]bool // all strings and numbers in it
}

// newReply reads the first byte as a mode: a well-formed value, one that breaks off, or a line of garbage.
//
// It spares the client what makes it panic by itself: more than one reply to one request, negative lengths other
// than -1, and lengths for which there is no memory.
func newReply(data []byte) *reply {
	r := &reply{texts: make(map[string]bool)}
	if len(data) == 0 {
		return r.broken("")
	}
	mode, data := data[0], data[1:]
	switch mode % 8 {
	case 6: // breaks off
		at := 0
		if len(data) > 0 {
			at, data = int(data[0]), data[1:]
		}
		frame := r.value(&data, 0)
		return r.broken(frame[:min(at, len(frame)-1)])
	case 7:
		line, _, _ := strings.Cut(string(data), "\n")
		if len(line) > 0 && strings.IndexByte("$*%~>=!|;", line[0]) >= 0 {
			if n, err := strconv.Atoi(strings.TrimSpace(line[1:])); err != nil || n < -1 || n > 1<<16 {
				line = "?" + line
			}
		}
		return r.broken(line + "\n")
	default:
		r.frame = r.value(&data, 0)
		return r
	}
}

func (r *reply) broken(frame string) *reply {
	r.frame, r.hangUp = frame, true
	return r
}

// words are the strings that true replies are made of, and some that are not.
var words = []string{
	"", "0", "1", "11", "01", "10", "-1", "m", "n", "t", "token", "OK", "#ALLOCATED", "1700000000000000", "9223372036854775807",
	"-9223372036854775808", "1e15", "1e309", "nan", "250", "18446744073709551616", "m||n", "\xff\x00", "{\"a\":1}", "5", "1000", "12", "c",
}

var failures = []string{
	"ERR something", "WRONGTYPE no", "NOSCRIPT No matching script", "NOPERM no", "LOADING wait", "BUSY wait", "MOVED 1 127.0.0.1:1",
	"ASK 1 127.0.0.1:1", "NOTNUMBER no", "OOM command not allowed", "READONLY You can't", "NOAUTH who", "", "EXECABORT x", "TRYAGAIN x",
	"CLUSTERDOWN x", "ERR unknown command",
}

// value makes one well-formed value.
func (r *reply) value(data *[]byte, depth int) string {
	next := func() byte {
		if len(*data) == 0 {
			return 0
		}
		b := (*data)[0]
		*data = (*data)[1:]
		return b
	}
	say := func(s string) string {
		r.texts[s] = true
		return s
	}
	list := func(kind string, per int) string {
		n := int(next()) % 12
		var b strings.Builder
		fmt.Fprintf(&b, "%s%d\r\n", kind, n)
		for range n * per {
			b.WriteString(r.value(data, depth+1))
		}
		return b.String()
	}
	kind := next() % 16
	if depth > 4 {
		kind %= 8
	}
	switch kind {
	case 0:
		return "_\r\n"
	case 1:
		return "$-1\r\n"
	case 2:
		return ":" + say(strconv.Itoa(int(int8(next())))) + "\r\n"
	case 3, 4:
		return bulk(say(words[int(next())%len(words)]))
	case 5:
		n := min(int(next())%32, len(*data))
		s := string((*data)[:n])
		*data = (*data)[n:]
		return bulk(say(s))
	case 6:
		if n := int(next()); n%2 == 0 {
			return ":" + say([]string{"9223372036854775807", "-9223372036854775808", "1000", "1700000000000000"}[n/2%4]) + "\r\n"
		}
		for _, text := range []string{"1.5", "inf", "123456789012345678901234567890", "a", "txt:a"} {
			say(text)
		}
		return []string{",1.5\r\n", ",inf\r\n", "#t\r\n", "#f\r\n", "(123456789012345678901234567890\r\n", "=5\r\ntxt:a\r\n"}[int(next())%6]
	case 7:
		f := failures[int(next())%len(failures)]
		if depth > 0 && len(f)%2 == 1 {
			return fmt.Sprintf("!%d\r\n%s\r\n", len(f), f)
		}
		return "-" + f + "\r\n"
	case 8:
		return list("%", 2)
	case 9:
		return list("~", 1)
	case 10:
		return "+" + say(words[int(next())%9]) + "\r\n"
	default:
		return list("*", 1)
	}
}

// encode is the opposite of value, for seeds: strings, ints, nil, errors and lists of them.
func encode(v any) []byte {
	switch v := v.(type) {
	case nil:
		return []byte{0}
	case int:
		if v >= -128 && v < 128 {
			return []byte{2, byte(int8(v))}
		}
		return encode(strconv.Itoa(v))
	case string:
		return append([]byte{5, byte(len(v))}, v...)
	case error:
		return []byte{7, byte(slices.Index(failures, v.Error()))}
	case []any:
		b := []byte{11, byte(len(v))}
		for _, x := range v {
			b = append(b, encode(x)...)
		}
		return b
	}
	panic("no seed")
}

// FuzzReply: whatever a server answers, each operation comes to an end with a value or an error, nobody is granted
// what the answer did not name, and Close leaves nothing behind.
func FuzzReply(f *testing.F) {
	type l = []any
	for _, v := range []any{
		nil, 0, 1, -1, "", "1", "0", "11",
		l{},
		l{"", ""},
		l{"", "", 0},
		l{"", "", 17, "m"},
		l{"", "", 17, "m", "n"},
		l{"", "", ""}, // exchange, plain
		l{"1", "", 0},
		l{"", "1", 0},
		l{"1", "1", 17, "m"},
		l{"", "1"},
		l{"", "10"},
		l{"", "", l{}},
		l{"", "", l{"m", 17}},
		l{"", "", l{"m", 17, "n", 18}},
		l{"", "", l{1, -1, 1}},
		l{"", "", l{0, 100, 0}}, // exchange
		l{"", "", l{1, 0, 1}},
		l{"", "", l{"m", "x"}},
		l{"", "", l{"m"}},
		l{"", "", nil},
		l{"", "", 17, nil},
		l{"", "", 17, l{"m"}},
		l{1, "t", -1},
		l{1, "t", -1, 1},
		l{1, "t", 0, l{"m", 17}},
		l{0, "", -1, 0},
		l{1, "t", 100, l{}}, // watch
		l{1},
		l{-1},
		l{1, 2},
		l{3, 0, 0, 1},
		l{1, 1},
		l{0, 0}, // edits, collect, leave
		l{"v", 100},
		l{nil, -2},
		l{"v", -1},
		l{"v", nil}, // get
		l{"1", 17},
		l{"1"},
		l{"", "name"},
		l{"7", "name", "other"}, // set, scan
		l{"m", "m", "", 1, 0, 1700, l{"m", "", "", "-1", nil, -2, nil}}, // inspect
		l{"", "", "", 1, 0, 1700, l{"m", "#ALLOCATED", "#ALLOCATED", "1700000000", "t", 500, "1700000000000"}},
		l{1, 1},
		l{1, 1, l{"t", 0, 1, 1700}},
		l{0, 0, l{"t", nil, 1, 1700}}, // queue
		l{"", "", l{1, 17, 18}},
		l{"", "", l{2, 1, 0, 1}},
		l{"", "", l{2, 0, -1, 0}},
		l{"", "", l{3, 2, 7}}, // exchange of names
		l{1, 17, 1},
		l{1, 17, l{-1}},
		l{0, 17, l{0}, 0},
		l{1, 17, 2, l{"n", 18, "m", 19}},
		l{1, 17, l{"m", 18}}, // watch for names
		l{"0", l{"a", "b"}},
		l{"7", l{}},
		l{"0", nil}, // members
		l{1000, 0, 1000, 1000, 0},
		l{0, 0, 0, 0, 0}, // reclaim
		errors.New("WRONGTYPE no"), errors.New("NOSCRIPT No matching script"),
		l{"", "", errors.New("ERR something")},
	} {
		f.Add(append([]byte{0}, encode(v)...))
	}
	f.Add([]byte(nil))
	f.Add(append([]byte{6, 9}, encode(l{"", "", 17, "m"})...))
	for _, s := range []string{"", "hello", "+OK", "*3\r", "$5\r", ":x\r", "*1\r", "%1\r", "|1\r", ">2\r", "HTTP/1.1 400 Bad Request\r", "_", "\x00"} {
		f.Add(append([]byte{7}, s...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := goleak.IgnoreCurrent()
		answer := newReply(data)
		server := newFakeServer(t)
		b, err := Open(t.Context(), server.url(), CallTimeout(200*time.Millisecond))
		if err != nil {
			server.close()
			t.Fatal(err)
		}
		server.set(func([]string) (string, bool) { return answer.frame, answer.hangUp })
		for name, operation := range operations {
			bounded(name, func() { operation(t, b, answer) })
		}
		bounded("Close", func() { _ = b.Close() })
		server.close()
		if err := goleak.Find(before); err != nil {
			t.Fatal(err)
		}
	})
}

// bounded fails the test at once, with all stacks, if f takes too long.
func bounded(what string, f func()) {
	alarm := time.AfterFunc(fuzzBound, func() {
		debug.SetTraceback("all")
		panic(what + " takes too long")
	})
	defer alarm.Stop()
	f()
}

// operations are all those of the backend. Each fails the test if it claims what the answer did not say.
var operations = func() map[string]func(*testing.T, *Backend, *reply) {
	ns := backend.Namespace{Prefix: "fuzz", Suffix: "reply"}
	type op = func(ctx context.Context, t *testing.T, b *Backend, r *reply) error
	take := backend.TakeRequest{Namespace: ns, Token: "t", TTL: time.Minute}
	with := func(change func(*backend.TakeRequest)) op {
		req := take
		change(&req)
		return func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Take(ctx, req)
			r.granted(t, got.Grants, err)
			if n := len(got.Grants); n != 0 && n != max(req.Count, 1) {
				t.Errorf("%q: granted %d, not %d", r.frame, n, req.Count)
			}
			return err
		}
	}
	enter := func(token string, wait time.Duration) op {
		return func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			req := backend.EnterRequest{Take: take}
			req.Take.Token = token
			got, err := b.Enter(ctx, req)
			r.granted(t, got.Grants, err)
			if (got.Handover == nil) == (err == nil && len(got.Grants) == 0) {
				t.Errorf("%q: Enter gives %v, %v", r.frame, got, err)
			}
			if got.Handover == nil {
				return err
			}
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case h := <-got.Handover:
				r.granted(t, h.Grants, h.Err)
			case <-timer.C:
			}
			return err
		}
	}
	names := []backend.LockItem{{Name: "m"}, {Name: "n", Units: 2, Limit: 3}}
	enterNames := func(token string, wait time.Duration) op {
		return func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Enter(ctx, backend.EnterRequest{Lock: backend.LockRequest{
				Namespace: ns, Token: token, TTL: time.Minute, Items: names,
			}})
			r.locked(t, got.Grants, err)
			if (got.Handover == nil) == (err == nil && len(got.Grants) == 0) {
				t.Errorf("%q: Enter gives %v, %v", r.frame, got, err)
			}
			if got.Handover == nil {
				return err
			}
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case h := <-got.Handover:
				r.locked(t, h.Grants, h.Err)
			case <-timer.C:
			}
			return err
		}
	}
	ops := map[string]op{
		"Enter for names":       enterNames("t", 10*time.Millisecond),
		"Enter for names, stay": enterNames("stays", 0),
		"Leave names": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: "t", Names: []string{"m", "n"}})
			return err
		},
		"Queue of a name": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Queue(ctx, backend.QueueRequest{Namespace: ns, Name: "m", Token: "t", Limit: 10})
			return err
		},
		"Take":         with(func(*backend.TakeRequest) {}),
		"Take several": with(func(r *backend.TakeRequest) { r.Count = 2 }),
		"Take shared":  with(func(r *backend.TakeRequest) { r.Shared = true }),
		"Take bound":   with(func(r *backend.TakeRequest) { r.Binding, r.BindingTTL = "n", time.Hour }),
		"Take one":     with(func(r *backend.TakeRequest) { r.Prefer, r.Only, r.Collect = []string{"m"}, true, 5 }),
		"Enter":        enter("t", 10*time.Millisecond),
		"Enter, stay":  enter("stays", 0),
		"Return": func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: "m", Token: "t"}, {Member: "n", Token: "t"}}})
			return r.lengths(t, err, 2, len(got.Returned))
		},
		"Return by force": func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Return(ctx, backend.ReturnRequest{
				Namespace: ns, Force: true, MemberTTL: time.Hour, Items: []backend.Held{{Member: "m"}, {Member: "n"}},
			})
			return r.lengths(t, err, 2, len(got.Returned))
		},
		"Renew": func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Renew(ctx, backend.RenewRequest{Namespace: ns, Items: []backend.Renewal{
				{Member: "m", Token: "t", TTL: time.Minute}, {Member: "n", Token: "t", TTL: time.Minute, NewToken: "u"},
			}})
			return r.lengths(t, err, 2, len(got.Renewed))
		},
		"Leave": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Leave(ctx, backend.LeaveRequest{Namespace: ns, Token: "t"})
			return err
		},
		"Queue": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Queue(ctx, backend.QueueRequest{Namespace: ns, Token: "t", Limit: 10})
			return err
		},
		"Collect": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Collect(ctx, backend.CollectRequest{Namespace: ns, Count: 5})
			return err
		},
		"Inspect": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Inspect(ctx, backend.InspectRequest{Namespace: ns})
			return err
		},
		"Extend": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Extend(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{"m", "n"}, TTL: backend.NoExpiry})
			return err
		},
		"Assign": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Assign(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{"m", "n"}, TTL: time.Hour})
			return err
		},
		"Shrink": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Shrink(ctx, backend.ShrinkRequest{Namespace: ns, Members: []string{"m", "n"}})
			return err
		},
		"Get": func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Get(ctx, backend.GetRequest{Namespace: ns, Names: []string{"m"}})
			return r.lengths(t, err, 1, len(got))
		},
		"Set": func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Set(ctx, backend.SetRequest{Namespace: ns, Fence: true, Items: []backend.SetItem{{Name: "m", Value: "v", TTL: time.Hour}}})
			return r.lengths(t, err, 1, len(got.Set), len(got.Fences))
		},
		"Delete": func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Delete(ctx, backend.DeleteRequest{Namespace: ns, Items: []backend.DeleteItem{{Name: "m"}}})
			return r.lengths(t, err, 1, len(got.Deleted))
		},
		"Scan": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Scan(ctx, backend.ScanRequest{Namespace: ns})
			return err
		},
		"Add": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Add(ctx, backend.SetEdit{Namespace: ns, Names: []string{"m"}})
			return err
		},
		"Remove": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Remove(ctx, backend.SetEdit{Namespace: ns, Names: []string{"m"}})
			return err
		},
		"Replace": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			return b.Replace(ctx, backend.SetEdit{Namespace: ns, Names: []string{"m"}})
		},
		"Members": func(ctx context.Context, t *testing.T, b *Backend, _ *reply) error {
			_, err := b.Members(ctx, backend.MembersRequest{Namespace: ns})
			return err
		},
		"Members among": func(ctx context.Context, t *testing.T, b *Backend, r *reply) error {
			got, err := b.Members(ctx, backend.MembersRequest{Namespace: ns, Among: []string{"m", "n"}})
			if len(got.Names) > 2 {
				t.Errorf("%q: %q of two", r.frame, got.Names)
			}
			return err
		},
	}
	bound := make(map[string]func(*testing.T, *Backend, *reply), len(ops))
	for name, call := range ops {
		bound[name] = func(t *testing.T, b *Backend, r *reply) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_ = call(ctx, t, b, r)
		}
	}
	return bound
}()

// granted checks that the answer named the members and the fences.
func (r *reply) granted(t *testing.T, grants []backend.Grant, err error) {
	t.Helper()
	if err != nil && len(grants) > 0 {
		t.Errorf("%q: granted %v in spite of %v", r.frame, grants, err)
	}
	for _, g := range grants {
		if !r.texts[g.Member] || g.Fence != 0 && !r.texts[strconv.FormatInt(g.Fence, 10)] {
			t.Errorf("%q: granted %+v", r.frame, g)
		}
	}
}

// locked checks that the answer named the fences, and that all names were granted that were asked for, or none.
func (r *reply) locked(t *testing.T, grants []backend.Grant, err error) {
	t.Helper()
	if err != nil && len(grants) > 0 || len(grants) != 0 && len(grants) != 2 {
		t.Errorf("%q: granted %v in spite of %v", r.frame, grants, err)
	}
	for i, g := range grants {
		if g.Member != []string{"m", "n"}[i] || !r.texts[strconv.FormatInt(g.Fence, 10)] {
			t.Errorf("%q: granted %+v", r.frame, g)
		}
	}
}

// lengths checks that a reply without error has as many entries as the request.
func (r *reply) lengths(t *testing.T, err error, want int, got ...int) error {
	t.Helper()
	for _, n := range got {
		if err == nil && n != want || err != nil && n != 0 {
			t.Errorf("%q: %d entries, not %d, and %v", r.frame, n, want, err)
		}
	}
	return err
}

// FuzzWake: a message wakes nobody but the waiter that it names, with nothing but what it says, and once.
func FuzzWake(f *testing.F) {
	for _, text := range []string{
		"", "1:G1:t1:m2:17", "1:G1:u1:m2:171:n2:18", "1:G2:tu1:m1:1", "1:G0:1:m1:1", "1:F1:t1:0", "1:F1:u3:250", "1:F1:v19:9223372036854775807",
		"1:F1:t20:-9223372036854775808", "1:G1:t0:1:1", "1:g1:t1:m1:1", "2:GF1:t1:m1:1", "1:G1:t1:m2:17\r\n", "1:G1:t1:m2:-1",
		"1:L1:t1:m2:17", "1:L1:t1:n2:17", "1:L1:t1:m2:171:n2:18", "1:L1:u1:m2:017", "1:H1:t1:0", "1:H1:u3:250", "1:L1:t",
	} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		b := newBackend(nil)
		sp := newSpace(b, backend.Namespace{Prefix: "p", Suffix: "s"})
		type key struct{ letter, token string }
		waiting := make(map[key]*waiter)
		letters := map[string]*line{"G": &sp.line, "L": &sp.lockLine}
		for letter, l := range letters {
			l.wake = make(chan struct{}, 1)
			for _, token := range []string{"t", "u", "tu", "1:t", "G"} {
				req := backend.EnterRequest{Take: backend.TakeRequest{Token: token}, ClaimTTL: time.Second}
				if letter == "L" {
					req = backend.EnterRequest{
						Lock: backend.LockRequest{Token: token, Items: []backend.LockItem{{Name: "m"}}}, ClaimTTL: time.Second,
					}
				}
				w := newWaiter(req)
				w.joined = true
				if err := l.expect(w); err != nil {
					t.Fatal(err)
				}
				waiting[key{letter, token}] = w
			}
		}
		for _, text := range []string{first, second} {
			sp.message(text)
			for to, w := range waiting {
				select {
				case h := <-w.handover:
					delete(waiting, to)
					want := "1:" + to.letter + netstring(to.token)
					for _, g := range h.Grants {
						if g.Token != to.token || g.TTL != time.Second {
							t.Fatalf("%q: %+v", text, g)
						}
						want += netstring(g.Member) + netstring(strconv.FormatInt(g.Fence, 10))
					}
					if h.Err != nil || len(h.Grants) == 0 || plainText(text) != plainText(want) {
						t.Fatalf("%q woke %q with %+v", text, to, h)
					}
					if to.letter == "L" && (len(h.Grants) != 1 || h.Grants[0].Member != "m") {
						t.Fatalf("%q woke %q with %+v", text, to, h)
					}
				default:
				}
			}
			left := 0
			for letter, l := range letters {
				l.mu.Lock()
				left += len(l.waiters)
				fronts := maps.Clone(l.fronts)
				l.mu.Unlock()
				if l.single && len(fronts) > 1 {
					t.Fatalf("%q: %d are in front", text, len(fronts))
				}
				for token, front := range fronts {
					if waiting[key{letter, token}] != front {
						t.Fatalf("%q: %q is in front", text, token)
					}
					if !front.nextLapse.IsZero() && time.Until(front.nextLapse) < -time.Second {
						t.Fatalf("%q: the next lease has ended at %v", text, front.nextLapse)
					}
				}
			}
			if left != len(waiting) {
				t.Fatalf("%q: %d wait, not %d", text, left, len(waiting))
			}
		}
	})
}

func netstring(s string) string { return strconv.Itoa(len(s)) + ":" + s }

// plainText is a message without the liberties that a sender has: zeroes in front of lengths, signs and zeroes in front
// of fences.
func plainText(text string) string {
	words, ok := netstrings(nil, text)
	if !ok {
		return text
	}
	plain := ""
	for i, w := range words {
		if i >= 3 && i%2 == 1 {
			if n, err := strconv.ParseInt(w, 10, 64); err == nil {
				w = strconv.FormatInt(n, 10)
			}
		}
		plain += netstring(w)
	}
	return plain
}

// FuzzOpen: a URL that is none gets an error, and so does one that leads nowhere. Nothing is dialled.
func FuzzOpen(f *testing.F) {
	for _, url := range []string{
		"", ":", "redis", "redis://", "http://127.0.0.1", "redis://127.0.0.1:x", "redis://127.0.0.1/x", "redis://127.0.0.1/1/2", "redis://[::1",
		"redis://127.0.0.1?db=x", "redis://127.0.0.1?dial_timeout=x", "rediss://127.0.0.1?skip_verify=x", "redis://%zz", "redis://a b",
		"redis://u:p@127.0.0.1:1/2?addr=127.0.0.1:2&protocol=2&client_cache=0", "unix:///nowhere?db=1", "redis://127.0.0.1?master_set=m",
		"redis://\x7f", "valkeys://127.0.0.1", "redis://127.0.0.1:99999999", "redis://127.0.0.1/-1", "redis://127.0.0.1?addr=", "unix://",
		"redis://127.0.0.1?dial_timeout=-1s", "redis://127.0.0.1?write_timeout=-1s",
	} {
		f.Add(url)
	}
	refused := errors.New("nobody is dialled here")
	before := goleak.IgnoreCurrent()
	f.Cleanup(func() { // a client of a Cluster that did not come to be leaves a goroutine for up to a second
		err := goleak.Find(before)
		for range 5 {
			if err != nil {
				err = goleak.Find(before)
			}
		}
		if err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, url string) {
		option, err := rueidis.ParseURL(url)
		if err != nil {
			if b, err := Open(t.Context(), url); err == nil || b != nil {
				t.Fatalf("%q opened", url)
			}
			return
		}
		option.DialCtxFn = func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) { return nil, refused }
		bounded("Open", func() {
			if b, err := OpenOption(t.Context(), option, Tracking()); err == nil || b != nil {
				t.Fatalf("%q opened", url)
			}
		})
	})
}

package backendtest

import (
	"math"
	"strings"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

var valueCases = []Case{
	{
		Name:     "get",
		Sentence: "Get: the reply has one entry for each name, in their order.",
		check: func(r *room) {
			r.set("b", "bee", backend.NoExpiry)
			r.set("a", "ay", long)
			got, err := r.be.Get(r.ctx, backend.GetRequest{Namespace: r.ns, Names: []string{"a", "none", "b", "a"}})
			r.ok(err, "Get")
			if len(got) != 4 {
				r.Fatalf("Get of 4 names gave %d values", len(got))
			}
			r.same("values", []string{got[0].Value, got[1].Value, got[2].Value, got[3].Value}, []string{"ay", "", "bee", "ay"})
			r.equal("the missing one", got[1], backend.Value{})
			r.equal("the one without an end", got[2], backend.Value{Exists: true, Value: "bee", TTL: backend.NoExpiry})
			r.lives("the one with an end", got[0].TTL, long)
		},
	},
	{
		Name:     "overwrite",
		Sentence: "Set writes values: the value and its TTL replace what was there.",
		check: func(r *room) {
			for _, ttl := range []time.Duration{long, backend.NoExpiry, 2 * long, time.Minute} {
				r.set("k", ttl.String(), ttl)
				got := r.lock("k")
				r.equal("value", got.Value, ttl.String())
				r.lives("value", got.TTL, ttl)
			}
		},
	},
	{
		Name:     "any-bytes",
		Sentence: "Values are keys with a value: any bytes, also none.",
		check: func(r *room) {
			for _, v := range []string{"", "\x00", "\xff\xfe", "a\r\nb", "nil", "-1", strings.Repeat("x", backend.MaxNameLen)} {
				r.set("k", v, long)
				got := r.lock("k")
				r.yes("the value exists", got.Exists)
				r.equal("value", got.Value, v)
			}
		},
	},
	{
		Name:     "any-name",
		Sentence: "Names and members are arbitrary UTF-8 without NUL.",
		check: func(r *room) {
			for i, n := range append(oddNames(), "a||b", backend.Allocated, "|", "||") {
				r.set(n, n, long)
				r.equal("value", r.lock(n).Value, n)
				if i%2 == 0 {
					r.unlockByHand(n)
					r.no("a removed value exists", r.lock(n).Exists)
				}
			}
		},
	},
	{
		Name:     "runs-out",
		Sentence: "What a TTL has ended does not exist: for no method.",
		check: func(r *room) {
			r.set("k", "v", short)
			r.gone("k")
			r.equal("a value that ran out", r.lock("k"), backend.Value{})
			r.equal("removing it", r.deletes(backend.DeleteItem{Name: "k"}), []bool{false})
			r.equal("writing it if equal", r.sets(item("k", "w", backend.IfEqual, "v")), []bool{false})
			r.equal("writing it if absent", r.sets(item("k", "w", backend.IfAbsent, "")), []bool{true})
		},
	},
	{
		Name:     "milliseconds",
		Sentence: "Durations have millisecond resolution; the shortest TTL is one millisecond.",
		check: func(r *room) {
			r.set("k", "v", time.Millisecond)
			r.gone("k")
			r.set("k", "v", long+time.Microsecond)
			if left := r.lock("k").TTL; left <= long-time.Minute || left > long+time.Millisecond {
				r.Errorf("of an hour and a microsecond are %v left", left)
			}
		},
	},
	{
		Name:     "longest-ttl",
		Sentence: "A TTL is positive, or NoExpiry: any positive one will do.",
		check: func(r *room) {
			r.set("k", "v", math.MaxInt64)
			if left := r.lock("k").TTL; left != backend.NoExpiry && left < math.MaxInt64-24*time.Hour {
				r.Errorf("of 292 years are %v left", left)
			}
			r.extend("m")
			r.takes(backend.TakeRequest{Token: "t", TTL: math.MaxInt64}, "m")
			r.yes("renewed for 292 years", r.renew("m", "t", math.MaxInt64))
			r.takes(backend.TakeRequest{Token: "u"})
		},
	},
	{
		Name:     "kinds",
		Sentence: "Kind tells families of names apart: each has its own keys.",
		check: func(r *room) {
			r.set("k", "lock", long)
			_, err := r.be.Set(r.ctx, backend.SetRequest{
				Namespace: r.ns, Kind: backend.KindBinding,
				Items: []backend.SetItem{{Name: "k", Value: "binding", TTL: long}},
			})
			r.ok(err, "Set of a binding")
			r.equal("lock", r.lock("k").Value, "lock")
			r.equal("binding", r.bound("k"), "binding")
			r.unlockByHand("k")
			r.no("the lock exists", r.lock("k").Exists)
			r.equal("binding", r.bound("k"), "binding")
		},
	},
	{
		Name:     "namespaces",
		Sentence: "Namespace says which keys belong together; HashTag makes others of the same prefix and suffix.",
		check: func(r *room) {
			other, tagged := *r, *r
			other.ns.Suffix, tagged.ns.HashTag = "other", true
			for _, in := range []*room{r, &other, &tagged} {
				in.set("k", in.ns.Base(), long)
				in.extend("a", "b")
			}
			for _, in := range []*room{r, &other, &tagged} {
				in.equal("value", in.lock("k").Value, in.ns.Base())
				in.takes(backend.TakeRequest{Token: "t", Binding: "n"}, "a")
				in.yes("given back", in.giveBack("a", "t"))
				in.free("b", "a")
			}
		},
	},
	{
		Name:     "scan",
		Sentence: "Scan lists the names of one kind, page by page; a name that stays is listed at least once.",
		check: func(r *room) {
			want := append(oddNames(), numbered(200)...)
			for _, n := range want {
				r.set(n, "v", long)
			}
			r.set("short", "v", time.Millisecond)
			r.gone("short")
			_, err := r.be.Set(r.ctx, backend.SetRequest{
				Namespace: r.ns, Kind: backend.KindBinding,
				Items: []backend.SetItem{{Name: "bound", Value: "m0000", TTL: long}},
			})
			r.ok(err, "Set of a binding")
			for _, limit := range []int{0, 7, backend.BatchLimit} {
				r.sameSet("locks", unique(r.scan(backend.KindLock, limit)), want)
			}
			r.same("bindings", unique(r.scan(backend.KindBinding, 0)), []string{"bound"})
		},
	},
	{
		Name:     "scan-literal",
		Sentence: "Scan lists the names of one kind in one namespace: characters of patterns in it mean themselves.",
		check: func(r *room) {
			like := *r
			r.ns.Prefix += `*[a-z]?\`
			like.ns.Prefix += `xa?\`
			r.set("mine", "v", long)
			like.set("theirs", "v", long)
			r.same("locks", unique(r.scan(backend.KindLock, 0)), []string{"mine"})
		},
	},
	{
		Name:     "scan-empty",
		Sentence: "An empty cursor says that it was the last page.",
		check:    func(r *room) { r.same("locks", r.scan(backend.KindLock, 0), nil) },
	},
}

// oddNames are valid as names of anything.
func oddNames() []string {
	return []string{
		"a b", "a|b", "a:b", "{x}", "}{", `'q'"]]`, `back\slash`, "*", "[a-z]?", "%s%d", "$1", "héllo wörld", "世界",
		"\u200b", "\n", "\t", "-1", "0", "nil", "false", "#", "#ALLOCATED#", "a\r\nb", "http://10.0.0.1:8080/?a=b&c",
		strings.Repeat("x", backend.MaxNameLen), strings.Repeat("é", backend.MaxNameLen/2),
	}
}

// scan goes through all pages.
func (r *room) scan(kind backend.Kind, limit int) []string {
	r.tb.Helper()
	var all []string
	req := backend.ScanRequest{Namespace: r.ns, Kind: kind, Limit: limit}
	for range 1_000_000 {
		page, err := r.be.Scan(r.ctx, req)
		r.ok(err, "Scan")
		all = append(all, page.Names...)
		if page.Cursor == "" {
			return all
		}
		req.Cursor = page.Cursor
	}
	r.Fatalf("Scan does not end")
	return nil
}

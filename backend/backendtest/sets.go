package backendtest

import (
	"github.com/redisallocator/redisallocator/backend"
)

// edit names members of a set, which cannot be a pool as well.
func (r *room) edit(names ...string) backend.SetEdit {
	r.poolless = true
	return backend.SetEdit{Namespace: r.ns, Names: names}
}

func (r *room) add(names ...string) int {
	r.tb.Helper()
	n, err := r.be.Add(r.ctx, r.edit(names...))
	r.ok(err, "Add")
	return n
}

// inSet expects the set to have exactly these members.
func (r *room) inSet(limit int, want ...string) {
	r.tb.Helper()
	var all []string
	req := backend.MembersRequest{Namespace: r.ns, Limit: limit}
	r.poolless = true
	for pages := 0; ; pages++ {
		page, err := r.be.Members(r.ctx, req)
		r.ok(err, "Members")
		if page.Total != len(want) {
			r.Errorf("the set counts %d members, not %d", page.Total, len(want))
		}
		all = append(all, page.Names...)
		if page.Cursor == "" {
			break
		}
		if pages > len(want)+10 {
			r.Fatalf("Members does not end")
		}
		req.Cursor = page.Cursor
	}
	r.sameSet("members of the set", unique(all), want)
}

var setCases = []Case{
	{
		Name:     "add",
		Sentence: "Add makes the names members and tells how many were not.",
		check: func(r *room) {
			r.inSet(0)
			r.equal("added", r.add("a", "b", "a"), 2)
			r.equal("added", r.add("b", "c"), 1)
			r.equal("added", r.add("b", "c"), 0)
			r.equal("added", r.add(), 0)
			r.inSet(0, "a", "b", "c")
		},
	},
	{
		Name:     "remove",
		Sentence: "Remove ends the membership of names and tells how many were members. Their locks stay.",
		check: func(r *room) {
			r.add("a", "b", "c")
			r.set("a", "owner", long)
			for _, c := range []struct {
				names []string
				want  int
			}{{[]string{"a", "x", "a"}, 1}, {[]string{"a"}, 0}, {nil, 0}, {[]string{"b", "c"}, 2}} {
				n, err := r.be.Remove(r.ctx, r.edit(c.names...))
				r.ok(err, "Remove")
				r.equal("removed", n, c.want)
			}
			r.inSet(0)
			r.equal("the lock", r.lock("a").Value, "owner")
		},
	},
	{
		Name:     "replace",
		Sentence: "Replace makes the names the only members; none empties the set.",
		check: func(r *room) {
			for _, want := range [][]string{{"a", "b"}, {"b", "c", "d"}, {"x"}, {}, {"a"}} {
				r.ok(r.be.Replace(r.ctx, r.edit(want...)), "Replace")
				r.inSet(0, want...)
			}
		},
	},
	{
		Name:     "pages",
		Sentence: "Members lists members page by page; an empty cursor says that it was the last page.",
		check: func(r *room) {
			want := append(numbered(2500), oddNames()...)
			r.equal("added", r.add(want...), len(want))
			for _, limit := range []int{0, 100, backend.BatchLimit} {
				r.inSet(limit, want...)
			}
			r.ok(r.be.Replace(r.ctx, r.edit(want[1000:2200]...)), "Replace")
			r.inSet(0, want[1000:2200]...)
			n, err := r.be.Remove(r.ctx, r.edit(want...))
			r.ok(err, "Remove")
			r.equal("removed", n, 1200)
		},
	},
	{
		Name:     "among",
		Sentence: "Among, if not empty: only these, without paging.",
		check: func(r *room) {
			r.add(numbered(300)...)
			got, err := r.be.Members(r.ctx, backend.MembersRequest{Namespace: r.ns, Among: []string{"x", "m0007", "m0300", "m0299"}, Limit: 1})
			r.ok(err, "Members")
			r.sameSet("members among some", got.Names, []string{"m0007", "m0299"})
			r.equal("cursor", got.Cursor, "")
			r.equal("total", got.Total, 300)
		},
	},
	{
		Name:     "wrong-type",
		Sentence: "ErrWrongType: one of the keys holds something else; a pool and a set have the same key. Nothing has changed.",
		check: func(r *room) {
			other := *r
			other.ns.Suffix = "other"
			r.add("a", "b")
			other.extend("m")
			other.unchanged("a refused call", func() {
				for name, err := range map[string]error{"Add": second(r.be.Add(r.ctx, other.edit("c"))), "Replace": r.be.Replace(r.ctx, other.edit("c"))} {
					r.fails(name+" on a pool", err, backend.ErrWrongType)
				}
			})
			calls := r.calls(r.ns)
			for _, name := range []string{"Extend", "Shrink", "Assign", "Take", "Collect", "Inspect", "Enter"} {
				r.fails(name+" on a set", calls[name](r.ctx), backend.ErrWrongType)
			}
			r.inSet(0, "a", "b")
			r.no("a lock was set", r.lock("a").Exists)
		},
	},
}

func second(_ int, err error) error { return err }

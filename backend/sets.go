package backend

import "context"

// Sets is the membership of lock pools: names without order or state.
type Sets interface {
	// Add makes the names members and tells how many were not.
	Add(ctx context.Context, req SetEdit) (int, error)

	// Remove ends the membership of names and tells how many were members. Their locks stay.
	Remove(ctx context.Context, req SetEdit) (int, error)

	// Replace makes the names the only members; none empties the set.
	Replace(ctx context.Context, req SetEdit) error

	// Members lists members page by page, or tells which of some names are members.
	Members(ctx context.Context, req MembersRequest) (MembersReply, error)
}

// SetEdit names members of a set.
type SetEdit struct {
	Namespace Namespace
	Names     []string
}

// MembersRequest asks for one page of members.
type MembersRequest struct {
	Namespace Namespace
	Among     []string // if not empty: only these, without paging
	Cursor    string   // empty starts
	Limit     int      // a hint for the length of a page; 0: BatchLimit
	Locks     bool     // look at the locks of those names, too, in the same step
}

// MembersReply is one page of members.
type MembersReply struct {
	Names  []string
	Cursor string // empty: this was the last page
	Total  int    // members of the whole set

	// Locks are the locks of Names, in their order, with Locks set. One that is no string has no Value.
	Locks []Value
}

// Validate checks the request; see [InvalidError]. An empty list is valid.
func (r *SetEdit) Validate() error { return first(r.Namespace.Validate(), checkNames(r.Names)) }

// Validate checks the request; see [InvalidError].
func (r *MembersRequest) Validate() error {
	return first(r.Namespace.Validate(), checkNames(r.Among), checkCount("among", len(r.Among), 0, BatchLimit),
		checkCount("limit", r.Limit, 0, BatchLimit))
}

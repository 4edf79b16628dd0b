package memory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func TestSetsCountWhatChanges(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		ctx := t.Context()
		n, err := r.Add(ctx, backend.SetEdit{Namespace: ns, Names: []string{"a", "b", "a"}})
		require.NoError(t, err)
		require.Equal(t, 2, n)
		n, err = r.Add(ctx, backend.SetEdit{Namespace: ns, Names: []string{"b", "c"}})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = r.Remove(ctx, backend.SetEdit{Namespace: ns, Names: []string{"a", "none", "a"}})
		require.NoError(t, err)
		require.Equal(t, 1, n)

		reply, err := r.Members(ctx, backend.MembersRequest{Namespace: ns, Among: []string{"c", "a", "b"}})
		require.NoError(t, err)
		require.Equal(t, backend.MembersReply{Names: []string{"c", "b"}, Total: 2}, reply)

		require.NoError(t, r.Replace(ctx, backend.SetEdit{Namespace: ns, Names: numbered(0, 9)}))
		var names []string
		cursor := ""
		for {
			reply, err = r.Members(ctx, backend.MembersRequest{Namespace: ns, Limit: 4, Cursor: cursor})
			require.NoError(t, err)
			require.Equal(t, 9, reply.Total)
			names = append(names, reply.Names...)
			if cursor = reply.Cursor; cursor == "" {
				break
			}
		}
		require.Equal(t, numbered(0, 9), names)

		require.NoError(t, r.Replace(ctx, backend.SetEdit{Namespace: ns}))
		reply, err = r.Members(ctx, backend.MembersRequest{Namespace: ns})
		require.NoError(t, err)
		require.Empty(t, reply)
	})
}

func TestPoolAndSetOfOneNamespaceExcludeEachOther(t *testing.T) {
	bubble(t, func(t *testing.T, r rig) {
		ctx := t.Context()
		edit := backend.SetEdit{Namespace: ns, Names: []string{"a"}}
		take := backend.TakeRequest{Namespace: ns, Token: "t", TTL: time.Second}
		_, err := r.Add(ctx, edit)
		require.NoError(t, err)
		_, err = r.Take(ctx, take)
		require.ErrorIs(t, err, backend.ErrWrongType)
		_, err = r.Remove(ctx, edit)
		require.NoError(t, err)
		r.extend("a")
		_, err = r.Add(ctx, edit)
		require.ErrorIs(t, err, backend.ErrWrongType)
		require.Equal(t, "a", r.take("t"))
	})
}

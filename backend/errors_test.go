package backend_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

func TestErrorsSayWhatWasWrong(t *testing.T) {
	for _, c := range []struct {
		err  error
		is   error
		says []string
	}{
		{&backend.LimitError{Name: "report", Asked: 3, Stored: 7}, backend.ErrLimit, []string{`"report"`, "3", "7"}},
		{&backend.ReplicasError{Want: 2, Got: 1}, backend.ErrReplicas, []string{"1 of 2"}},
		{&backend.InvalidError{Field: "units", Value: "4", Reason: "are too many"}, backend.ErrInvalid, []string{"units", "4", "are too many"}},
	} {
		wrapped := fmt.Errorf("lock a|b: %w", c.err)
		require.ErrorIs(t, wrapped, c.is)
		for _, says := range c.says {
			assert.ErrorContains(t, wrapped, says)
		}
		for _, other := range []error{backend.ErrLimit, backend.ErrReplicas, backend.ErrInvalid, backend.ErrClosed} {
			assert.Equal(t, errors.Is(other, c.is), errors.Is(wrapped, other), "%v is %v", c.err, other)
		}
	}
	var differs *backend.LimitError
	require.ErrorAs(t, fmt.Errorf("enter: %w", &backend.LimitError{Name: "a", Asked: 1, Stored: 2}), &differs)
	assert.Equal(t, backend.LimitError{Name: "a", Asked: 1, Stored: 2}, *differs)
}

// What is wrong is named by its field, and shown at a readable length.
func TestInvalidLocksNameTheField(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for field, r := range map[string]request{
		"name":            lockRequest(func(r *backend.LockRequest) { r.Items[0].Name = long }),
		"names":           lockRequest(func(r *backend.LockRequest) { r.Items = nil }),
		"token":           lockRequest(func(r *backend.LockRequest) { r.Token = long }),
		"ttl":             lockRequest(func(r *backend.LockRequest) { r.TTL = 0 }),
		"units":           lockRequest(func(r *backend.LockRequest) { r.Items[0] = item("a", 2, 1) }),
		"limit":           lockRequest(func(r *backend.LockRequest) { r.Items[0] = item("a", 1, -2) }),
		"replicas":        lockRequest(func(r *backend.LockRequest) { r.Durability = backend.Durability{Replicas: -1, Timeout: 1e9} }),
		"replica timeout": lockRequest(func(r *backend.LockRequest) { r.Durability = backend.Durability{Replicas: 1} }),
		"value":           &backend.SetRequest{Namespace: ns, Items: []backend.SetItem{{Name: "a", Value: backend.SharedToken, TTL: 1e9}}},
	} {
		err := r.Validate()
		var invalid *backend.InvalidError
		require.ErrorAs(t, err, &invalid, field)
		assert.Equal(t, field, invalid.Field)
		assert.NotEmpty(t, invalid.Reason)
		assert.Less(t, len(err.Error()), 300, "an error is for reading")
	}
}

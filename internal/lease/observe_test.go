package lease_test

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/lease"
)

func TestObserversAreTold(t *testing.T) {
	t.Parallel()
	event := backend.Event{Kind: backend.EventGranted, Member: "a"}
	var seen []backend.Event
	lease.Observe(nil, nil, event)
	lease.Observe(backend.ObserverFunc(func(e backend.Event) { seen = append(seen, e) }), nil, event)
	require.Equal(t, []backend.Event{event}, seen)

	var log bytes.Buffer
	rude := backend.ObserverFunc(func(backend.Event) { panic("oops") })
	lease.Observe(rude, nil, event)
	lease.Observe(rude, slog.New(slog.NewTextHandler(&log, nil)), event)
	for _, said := range []string{"observer panicked", "event=granted", "panic=oops", "observe_test.go"} {
		require.Contains(t, log.String(), said)
	}
}

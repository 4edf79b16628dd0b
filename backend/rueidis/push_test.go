package rueidis

import (
	"io"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/backend"
)

func TestNetstrings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":               nil,
		"0:":             {""},
		"1:G3:a:b0:":     {"G", "a:b", ""},
		"2:\u00fc1:\x00": {"\u00fc", "\x00"},
		"10:0123456789":  {"0123456789"},
		"03:abc":         {"abc"},
	} {
		got, ok := netstrings(nil, text)
		assert.True(t, ok, "%q", text)
		assert.Equal(t, want, got, "%q", text)
	}
	for _, text := range []string{":", "a", "1", "1:", "2:a", "1:ab", "-1:a", "99999999999999999999:a", "1:a:", "1 :a"} {
		_, ok := netstrings(nil, text)
		assert.False(t, ok, "%q", text)
	}
}

// FuzzMessage: whatever arrives on the channel, nothing breaks, and who is granted something is who was named.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{
		"", "1:G", "1:G1:t", "1:G1:t1:m2:17", "1:G1:t1:m2:171:n2:18", "1:G1:t1:m1:x", "1:F1:t2:-1", "1:F1:t3:250", "1:F1:t1:x",
		"1:X1:t", "1:G1:u1:m2:17", "1:F1:t20:99999999999999999999",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b := newBackend(nil)
		sp := newSpace(b, backend.Namespace{Prefix: "p", Suffix: "s"})
		w := newWaiter(backend.EnterRequest{Take: backend.TakeRequest{Token: "t"}})
		assert.NoError(t, sp.line.expect(w))
		sp.message(text)
		select {
		case h := <-w.handover:
			if len(h.Grants) == 0 || h.Err != nil {
				t.Fatalf("%q granted %v", text, h)
			}
			again := "1:G1:t"
			for _, g := range h.Grants {
				fence := strconv.FormatInt(g.Fence, 10)
				again += strconv.Itoa(len(g.Member)) + ":" + g.Member + strconv.Itoa(len(fence)) + ":" + fence
				assert.Equal(t, "t", g.Token)
			}
			grants, ok := grantsOf("t", must(netstrings(nil, text))[2:])
			assert.True(t, ok)
			assert.Len(t, grants, len(h.Grants))
			_, ok = netstrings(nil, again)
			assert.True(t, ok)
		default:
		}
	})
}

func must(words []string, _ bool) []string { return words }

// TestBrokenSubscriptionHoldsUpLittle: a subscription that was there and broke does not hold up those who could be served,
// for longer than until it is polled for what they wait for.
func TestBrokenSubscriptionHoldsUpLittle(t *testing.T) {
	t.Parallel()
	var s subscription
	assert.Equal(t, subscribePatience, s.patience())
	s.set(true, nil)
	s.set(false, io.EOF)
	assert.Equal(t, glance, s.patience())
}

package redistest

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReadFrame(t *testing.T) {
	frames := []string{
		"+OK\r\n",
		"-ERR no\r\n",
		":12\r\n",
		"_\r\n",
		"#t\r\n",
		",1.5\r\n",
		"(123456789012345678901234567890\r\n",
		"$-1\r\n",
		"*-1\r\n",
		"$0\r\n\r\n",
		"$4\r\na\r\nb\r\n",
		"=7\r\ntxt:abc\r\n",
		"!5\r\nERR x\r\n",
		"*0\r\n",
		"*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
		"~1\r\n+a\r\n",
		"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
		"|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n",
		">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n",
		"PING\r\n",
		"\r\n",
	}
	all := strings.Join(frames, "")
	r := bufio.NewReader(strings.NewReader(all))
	for _, want := range frames {
		if got, err := readFrame(r); err != nil || string(got) != want {
			t.Fatalf("got %q and %v, want %q", got, err, want)
		}
	}
	if _, err := readFrame(r); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v at the end", err)
	}
	for _, frame := range frames {
		for end := range frame {
			if got, err := readFrame(bufio.NewReader(strings.NewReader(frame[:end]))); err == nil {
				t.Fatalf("took %q of %q for a frame: %q", frame[:end], frame, got)
			}
		}
	}
}

func TestReadFrameRefusesWhatHasNoLength(t *testing.T) {
	for _, frame := range []string{"$x\r\n", "*\r\n", "%1.5\r\n", "*1\r\n$?\r\n"} {
		if got, err := readFrame(bufio.NewReader(strings.NewReader(frame))); err == nil {
			t.Errorf("took %q for a frame: %q", frame, got)
		}
	}
}

func TestWords(t *testing.T) {
	for frame, want := range map[string][]string{
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n": {"SET", "k", "a\r\nb"},
		"*1\r\n$0\r\n\r\n":                {""},
		">2\r\n$9\r\nsubscribe\r\n:1\r\n": {"subscribe", "1"},
		"PING  hello\r\n":                 {"PING", "hello"},
		"*0\r\n":                          nil,
		"\r\n":                            {},
	} {
		if got, err := words([]byte(frame)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q and %v, want %q", frame, got, err, want)
		}
	}
}

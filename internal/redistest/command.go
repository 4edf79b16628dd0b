package redistest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// ask sends one command over the server's own socket, as its default user. The answer is a string, an int64, a []any, or
// nil; what the server refuses is an error.
func (p *process) ask(words ...string) (any, error) {
	conn, err := net.DialTimeout("unix", p.socket(), time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return nil, err
	}
	var request strings.Builder
	fmt.Fprintf(&request, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := conn.Write([]byte(request.String())); err != nil {
		return nil, err
	}
	frame, err := readFrame(bufio.NewReader(conn))
	if err != nil {
		return nil, err
	}
	return value(bufio.NewReader(bytes.NewReader(frame)))
}

// value decodes an answer in the form of RESP2.
func value(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, text := line[0], strings.TrimSpace(line[1:])
	if kind == '+' {
		return text, nil
	}
	if kind == '-' {
		return nil, errors.New(text)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q: %w", line, err)
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil //nolint:nilnil // that is what there is
	case kind == '$':
		data := make([]byte, n+2)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, err
		}
		return string(data[:n]), nil
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = value(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

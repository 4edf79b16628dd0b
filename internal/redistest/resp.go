package redistest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// readFrame reads one whole request or reply and returns its bytes: any RESP2 or RESP3 value, or a request
// typed as plain words.
func readFrame(r *bufio.Reader) ([]byte, error) { return appendFrame(r, nil) }

func appendFrame(r *bufio.Reader, frame []byte) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	frame = append(frame, line...)
	values := 0
	switch line[0] {
	case '$', '=', '!':
		n, err := length(line)
		if err != nil || n < 0 {
			return frame, err
		}
		start := len(frame)
		frame = append(frame, make([]byte, n+2)...)
		_, err = io.ReadFull(r, frame[start:])
		return frame, err
	case '*', '~', '>':
		values, err = length(line)
	case '%':
		values, err = length(line)
		values *= 2
	case '|': // attributes come before the value that they belong to
		values, err = length(line)
		values = 2*values + 1
	}
	for ; err == nil && values > 0; values-- {
		frame, err = appendFrame(r, frame)
	}
	return frame, err
}

func length(line []byte) (int, error) {
	n, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
	if err != nil {
		return 0, fmt.Errorf("length of %q: %w", line, err)
	}
	return n, nil
}

// words returns the strings of a flat array, such as a request, or the words of a plain line.
func words(frame []byte) ([]string, error) {
	r := bufio.NewReader(bytes.NewReader(frame))
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	if line[0] != '*' && line[0] != '>' {
		return strings.Fields(string(line)), nil
	}
	var list []string
	for {
		value, err := readFrame(r)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if _, after, ok := bytes.Cut(value, []byte("\r\n")); ok && value[0] == '$' && len(after) >= 2 {
			list = append(list, string(after[:len(after)-2]))
		} else {
			list = append(list, string(bytes.TrimSpace(value[1:])))
		}
	}
}

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// A screen shows what happens, line by line, and below it how things are: on a terminal a table that is drawn over
// and over, elsewhere a plain line now and then.
type screen struct {
	out   io.Writer
	live  bool
	start time.Time

	mu     sync.Mutex
	table  string // what stands below the last line
	status time.Time
}

func newScreen(out io.Writer, live bool) *screen {
	return &screen{out: out, live: live, start: time.Now()}
}

// say adds a line.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("%5.1fs  ", time.Since(s.start).Seconds()) + fmt.Sprintf(format, args...) + "\n"
	fmt.Fprint(s.out, s.over()+line+s.table)
}

// show replaces the table.
func (s *screen) show(v view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live {
		erase := s.over()
		s.table = v.table(time.Since(s.start))
		fmt.Fprint(s.out, erase+s.table)
	} else if time.Since(s.status) >= time.Second {
		s.status = time.Now()
		fmt.Fprintf(s.out, "%5.1fs  %s\n", time.Since(s.start).Seconds(), v.line())
	}
}

// over is what moves the cursor to where the table begins, and clears what follows. Lines must not be longer than the
// terminal is wide, or it would not be enough.
func (s *screen) over() string {
	if s.table == "" {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", strings.Count(s.table, "\n"))
}

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/redisallocator/redisallocator/task"
)

// board shows a bar for each image. On a terminal the bars stay where they are; elsewhere there is a line for each end.
type board struct {
	mu    sync.Mutex
	out   io.Writer
	bars  []string
	drawn bool
	live  bool
}

func newBoard(out io.Writer, n int) *board {
	b := &board{out: out, bars: make([]string, n)}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		b.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

func (b *board) show(i int, name string, p task.Progress) {
	const width = 30
	full := int(width * p.Current / max(p.Total, 1))
	b.set(i, fmt.Sprintf("%-16.16s [%s%s]", name, strings.Repeat("#", full), strings.Repeat(".", width-full)), false)
}

func (b *board) finish(i int, name string, t Thumbnail) {
	line := fmt.Sprintf("%-16.16s %dx%d by worker %d", name, t.Width, t.Height, t.Worker)
	if t.Attempt > 1 {
		line += fmt.Sprintf(", attempt %d", t.Attempt)
	}
	b.set(i, line, true)
}

func (b *board) set(i int, line string, end bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bars[i] = line
	if b.live {
		b.draw()
	} else if end {
		fmt.Fprintln(b.out, line)
	}
}

// say prints a line above the bars.
func (b *board) say(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live && b.drawn {
		fmt.Fprintf(b.out, "\x1b[%dA\x1b[J", len(b.bars))
		b.drawn = false
	}
	fmt.Fprintln(b.out, line)
	if b.live {
		b.draw()
	}
}

// draw draws all bars, over those that are there.
func (b *board) draw() {
	if b.drawn {
		fmt.Fprintf(b.out, "\x1b[%dA", len(b.bars))
	}
	b.drawn = true
	for _, bar := range b.bars {
		fmt.Fprintf(b.out, "\x1b[2K%s\n", bar)
	}
}

package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redisallocator/redisallocator/pool"
)

var someView = view{
	fetched: 10, pages: 40, waiting: 3,
	rows: []row{
		{proxy: "127.0.0.1:4001", state: pool.Leased, holder: "worker 2", left: 1900 * time.Millisecond, served: 4},
		{proxy: "127.0.0.1:4002", state: pool.Leased, holder: "worker 1, crashed", left: 300 * time.Millisecond, served: 3},
		{proxy: "127.0.0.1:4003", state: pool.Quarantined, left: time.Minute, served: 1},
		{proxy: "127.0.0.1:4004", state: pool.Free, served: 2},
	},
}

// plain leaves out what a terminal does not print.
var plain = strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[36m", "")

func TestTheTable(t *testing.T) {
	assert.Equal(t, `
  ███████░░░░░░░░░░░░░░░░░░░░░░░  10 of 40 pages, 2.5s

  proxy                    state       by                  ends in  pages
  127.0.0.1:4001           leased      worker 2               1.9s      4
  127.0.0.1:4002           leased      worker 1, crashed      0.3s      3
  127.0.0.1:4003           quarantined                       60.0s      1
  127.0.0.1:4004           free                                         2

  3 in line for a proxy
`, plain.Replace(someView.table(2500*time.Millisecond)))
}

func TestALongTableIsCut(t *testing.T) {
	table := (&view{pages: 1, rows: make([]row, 100)}).table(0)
	assert.Contains(t, table, "and 84 more\n")
	assert.Less(t, strings.Count(table, "\n"), 24)
}

func TestOnATerminalTheTableStaysBelowTheLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		s := newScreen(&out, true)
		s.show(someView)
		s.say("something happens")
		s.show(view{pages: 40})

		table := someView.table(0)
		up := "\x1b[10A\x1b[J"
		assert.Equal(t, table+up+"  0.0s  something happens\n"+table+up+(&view{pages: 40}).table(0), out.String())
		assert.Equal(t, 10, strings.Count(table, "\n"))
	})
}

func TestElsewhereThereArePlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		s := newScreen(&out, false)
		s.show(someView)
		s.say("something happens")
		s.show(someView) // too early
		<-time.After(time.Second)
		s.show(someView)
		assert.Equal(t, `  0.0s  10 of 40 pages; proxies: 1 free, 2 leased, 1 quarantined; 3 in line
  0.0s  something happens
  1.0s  10 of 40 pages; proxies: 1 free, 2 leased, 1 quarantined; 3 in line
`, out.String())
	})
}

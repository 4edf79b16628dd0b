package rueidis

import (
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// A message is a list of netstrings:
//
//	"G" token (member fence)...   that request was granted these members
//	"F" token deadline            that request is now first in line; milliseconds to the next end of a lease, -1: none
//	"L" token (name fence)...     that request was granted these names
//	"H" token deadline            that request is now first in its lines, as with "F"
//	"E" token name asked limit    that request wants more units of a name than there may be by now
//	"T" ...                       what there is to tell of tasks; see taskmessage.go

// message acts on what another process, or our own, has told us.
func (sp *space) message(text string) {
	var room [8]string
	words, ok := netstrings(room[:0], text)
	if !ok || len(words) < 2 {
		sp.b.log.Warn("message of an unexpected form", "namespace", sp.ns.String(), "length", len(text))
		return
	}
	if words[0] == "T" {
		if !sp.tasks.events(words[1:]) {
			sp.b.log.Warn("message of an unexpected form", "namespace", sp.ns.String(), "length", len(text))
		}
		return
	}
	token, rest := words[1], words[2:]
	l := &sp.line
	switch words[0] {
	case "L", "H", "E":
		l = &sp.lockLine
	}
	switch words[0] {
	case "G", "L":
		grants, ok := grantsOf(token, rest)
		if !ok {
			sp.b.log.Warn("message of an unexpected form", "namespace", sp.ns.String(), "length", len(text))
			return
		}
		l.deliver(token, grants, true)
	case "F", "H":
		if len(rest) == 1 {
			if ms, err := strconv.ParseInt(rest[0], 10, 64); err == nil {
				l.lead(token, millis(ms))
			}
		}
	case "E":
		if len(rest) == 3 {
			asked, err1 := strconv.Atoi(rest[1])
			stored, err2 := strconv.Atoi(rest[2])
			if err1 == nil && err2 == nil {
				err := &backend.LimitError{Name: rest[0], Asked: asked, Stored: stored}
				l.refuseToken(token, sp.b.fail(sp.b.ctx, "enter", sp.ns, err))
			}
		}
	}
}

// grantsOf reads pairs of member and fence.
func grantsOf(token string, pairs []string) ([]backend.Grant, bool) {
	if len(pairs) == 0 || len(pairs)%2 != 0 {
		return nil, false
	}
	grants := make([]backend.Grant, len(pairs)/2)
	for i := range grants {
		fence, err := strconv.ParseInt(pairs[2*i+1], 10, 64)
		if err != nil {
			return nil, false
		}
		grants[i] = backend.Grant{Member: pairs[2*i], Token: token, Fence: fence}
	}
	return grants, true
}

// netstrings appends the strings of which text is made: each with its length in bytes and a colon in front.
func netstrings(words []string, text string) ([]string, bool) {
	for len(text) > 0 {
		n, digits := 0, 0
		for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
			if n = 10*n + int(text[digits]-'0'); n > len(text) {
				return nil, false
			}
			digits++
		}
		if digits == 0 || digits == len(text) || text[digits] != ':' || len(text)-digits-1 < n {
			return nil, false
		}
		words = append(words, text[digits+1:digits+1+n])
		text = text[digits+1+n:]
	}
	return words, true
}

// millis is a number of milliseconds as the scripts give it: -1 means that there is none, and stays negative.
func millis(ms int64) time.Duration {
	const most = int64(1<<63-1)/int64(time.Millisecond) - 1 // callers add a little
	return time.Duration(max(min(ms, most), -1)) * time.Millisecond
}

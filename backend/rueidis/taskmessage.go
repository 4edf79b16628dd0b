package rueidis

// A message of the task queues is a list of netstrings that begins with "T" and goes on with what there is to tell:
//
//	"w" listener            there may be something to fetch
//	"l" listener id token   the listener has lost that lease, because the task was cancelled
//	"f" id record           the task has ended; record is as in decodeRecord, or "" if it is too long to be sent
//	"p" id info             an attempt has begun or ended, or there is progress; info is as in decodeTask, or "" if it is too long

// events acts on a message of the task queues, without its first word. It reports false if something has an unexpected
// form, which is passed over.
func (ts *taskSpace) events(words []string) (ok bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ok = true
	for len(words) > 1 {
		what, name := words[0], words[1]
		used := 2
		switch {
		case what == "w":
			if l := ts.listeners[name]; l != nil && !ts.closed {
				l.rouse()
			}
		case what == "l" && len(words) > 3:
			used = 4
			if l := ts.listeners[name]; l != nil {
				l.loses(words[2], words[3])
			}
		case (what == "f" || what == "p") && len(words) > 2:
			used = 3
			if x := ts.watched[name]; x != nil {
				ok = ts.hears(x, what == "f", words[2]) && ok
			}
		default:
			return false
		}
		words = words[used:]
	}
	return ok && len(words) == 0
}

// hears acts on what is told of a task that is watched. What it does not understand it has the server asked for. The caller
// holds the mutex.
func (ts *taskSpace) hears(x *watched, ended bool, text string) bool {
	x.told++
	if text == "" {
		ts.askSoon(x)
		return true
	}
	read := decodeTaskText
	if ended {
		read = decodeRecord
	}
	a, ok := read(x.id, text)
	switch {
	case !ok:
		ts.askSoon(x)
	case a.kind == taskEnded:
		ts.end(x, &a)
	case x.begun:
		ts.goes(x, a.info)
	default:
		x.again = true // the answer that is on its way may be older
	}
	return ok
}

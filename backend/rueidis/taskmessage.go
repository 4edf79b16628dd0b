package rueidis

// A message of the task queues is a list of netstrings that begins with "T" and goes on with what there is to tell:
//
//	"w" listener            there may be something to fetch
//	"l" listener id token   the listener has lost that lease, because the task was cancelled
//	"f" id record           the task has ended; record is what stands under its result key, or would, "" if it is too long to be sent
//	"p" id info             an attempt has begun or ended, or there is progress; info is as in liveInfo, or "" if it is too long

// events acts on a message of the task queues, without its first word.
func (ts *taskSpace) events(words []string) (ok bool) {
	return true
}

package rueidis

import (
	"context"
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// taskKeep is how long the record of a task is kept, at least, after nobody has noticed that its time is over.
const taskKeep = time.Minute

// submitOp is one Submit. The request has been validated.
type submitOp struct {
	req                         backend.SubmitRequest
	digest, timeout, life, kept string // as taskexchange.lua takes them

	// The result.
	letter byte
	joined taskAnswer // with submitJoined
}

// What became of a submission.
const (
	submitCreated  = 'C'
	submitNobody   = 'N'
	submitConflict = 'X'
	submitJoined   = 'J'
)

func newSubmitOp(req *backend.SubmitRequest) *submitOp {
	op := &submitOp{req: *req, digest: req.Digest()}
	timeout, retention, graveyard := backend.Millis(req.Timeout), backend.Millis(req.Retention), backend.Millis(req.Graveyard)
	if graveyard == 0 {
		graveyard = retention
	}
	op.timeout = strconv.FormatInt(timeout, 10)
	op.life = strconv.FormatInt(timeout+max(retention, graveyard)+taskKeep.Milliseconds(), 10)
	b := make([]byte, 0, 64)
	b = append(strconv.AppendInt(b, retention, 10), ' ')
	b = append(strconv.AppendInt(b, graveyard, 10), ' ')
	b = append(strconv.AppendInt(b, int64(req.MaxDeaths), 10), ' ')
	b = append(strconv.AppendInt(b, int64(req.Class), 10), ' ')
	op.kept = string(append(b, op.digest...))
	return op
}

func (op *submitOp) weight() int {
	n := len(op.req.Payload) + len(op.req.Meta)
	for _, id := range op.req.Forget {
		n += len(id)
	}
	return n
}

// reportOp is one Report, or a part of it.
type reportOp struct {
	items []backend.TaskReport
	data  []string // as taskexchange.lua takes it
}

func newReportOp(items []backend.TaskReport) *reportOp {
	op := &reportOp{items: items, data: make([]string, len(items))}
	for i := range items {
		it := &items[i]
		switch it.Kind {
		case backend.ReportProgress:
			op.data[i] = rueidis.BinaryString(it.Data)
		case backend.ReportDone:
			op.data[i] = jsonMember("result", it.Data)
		case backend.ReportReturn:
		default:
			op.data[i] = jsonMember("error", it.Data)
		}
	}
	return op
}

func (op *reportOp) weight() (n int) {
	for _, data := range op.data {
		n += len(data)
	}
	return n
}

// returning reports that nothing has come of attempts.
func returning(grants []backend.TaskGrant) *reportOp {
	op := &reportOp{items: make([]backend.TaskReport, len(grants)), data: make([]string, len(grants))}
	for i, g := range grants { // the last one first, so that they are in their order again
		op.items[len(grants)-1-i] = backend.TaskReport{ID: g.Task.ID, Token: g.Token, Kind: backend.ReportReturn}
	}
	return op
}

// jsonMember gives data as a member of a JSON object: as text if it is UTF-8 and not much longer so, else in base64 and
// under a name that says so. Nothing gives nothing.
func jsonMember(name string, data []byte) string {
	if len(data) == 0 {
		return ""
	}
	const room = len(`"64":""`)
	coded := base64.StdEncoding.EncodedLen(len(data))
	if n := quotedLen(data); n <= max(coded, 2*len(data)) && utf8.Valid(data) {
		b := make([]byte, 0, len(name)+room+n)
		b = append(append(append(b, '"'), name...), `":"`...)
		b = appendQuoted(b, data, n)
		return rueidis.BinaryString(append(b, '"'))
	}
	b := make([]byte, 0, len(name)+room+coded)
	b = append(append(append(b, '"'), name...), `64":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return rueidis.BinaryString(append(b, '"'))
}

// quotedLen is the length of data inside of a JSON string.
func quotedLen(data []byte) int {
	n := len(data)
	for _, c := range data {
		switch {
		case c == '"', c == '\\':
			n++
		case c < ' ':
			n += len(`\u0000`) - 1
		}
	}
	return n
}

func appendQuoted(b, data []byte, n int) []byte {
	if n == len(data) {
		return append(b, data...)
	}
	const digits = "0123456789abcdef"
	for _, c := range data {
		switch {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

// fetchOp is one Fetch. The request has been validated.
type fetchOp struct {
	req backend.FetchRequest

	// The result.
	grants []backend.TaskGrant
	idle   bool
	next   time.Duration
	sent   time.Time // before the call left
}

// unknown is what has to be taken back if nobody knows what became of the request.
func (op *fetchOp) unknown() (lost, bool) {
	x := lost{request: request{token: op.req.Token}, ttl: op.req.TTL, sent: op.sent, queues: make([]string, len(op.req.Queues))}
	for i := range op.req.Queues {
		x.queues[i] = op.req.Queues[i].Name
	}
	return x, op.req.Max > 0 && !op.req.Leave
}

// nextCall is how long the listener may wait until it calls again.
func (op *fetchOp) nextCall() time.Duration {
	if op.next < 0 {
		return backend.NoExpiry
	}
	return op.next
}

// exchangeTasks has p carried out together with what others want of the tasks of the namespace, and gives what came of its
// items. The error is complete.
func (sp *space) exchangeTasks(ctx context.Context, op string, p *part) ([]bool, error) {
	bits, err := sp.taskComb.submit(ctx, p)
	return bits, sp.b.fail(ctx, op, sp.ns, err)
}

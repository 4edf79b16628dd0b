package rueidis

import (
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/internal/luascript"
)

var taskExchangeScript = rueidis.NewLuaScript(luascript.TaskExchange)

// taskExchange carries out a batch in one call, and leaves in each part what came of it.
func (sp *space) taskExchange(w *wire, batch []*part) error {
	a := argumentLists.Get().(*arguments)
	sp.encodeTasks(a, batch)
	sent := time.Now()
	for _, p := range batch {
		p.sentAt(sent)
	}
	reply, err := sp.callOn(sp.b.bounded(), w, taskExchangeScript, sp.taskKeys.keys, a.argv)
	a.drop()
	if err != nil {
		return err
	}
	return decodeExchange(batch, &reply)
}

// encodeTasks gives the ARGV of taskexchange.lua.
func (sp *space) encodeTasks(a *arguments, batch []*part) {
	reports, renewals, submits, fetches := 0, 0, 0, 0
	form := fastForm
	for _, p := range batch {
		if !p.fast() {
			form = ""
		}
		switch {
		case p.report != nil:
			reports += len(p.report.items)
		case p.submit != nil:
			submits++
		case p.fetch != nil:
			fetches++
		default:
			renewals += len(p.renewals)
		}
	}
	a.text(sp.taskKeys.head)
	a.text(sp.b.process)
	if sp.b.opts.roundabout || fetches > 1 || fetches > 0 && submits > 0 {
		form = ""
	}
	a.counts(form, reports, renewals, submits, fetches)
	for _, p := range batch {
		if p.report != nil {
			p.report.encode(a)
		}
	}
	a.renewals(batch, false)
	for _, p := range batch {
		if p.submit != nil {
			p.submit.encode(a)
		}
	}
	for _, p := range batch {
		if p.fetch != nil {
			p.fetch.encode(a)
		}
	}
}

// fastForm says that taskfast.lua may do it.
const fastForm = "fast"

// fast reports whether the part is of the common form.
func (p *part) fast() bool {
	switch {
	case p.submit != nil:
		r := &p.submit.req
		return r.Class == backend.ClassNormal && len(r.Meta) == 0 && r.Delay == 0 && !r.IfListened
	case p.fetch != nil:
		return len(p.fetch.req.Queues) == 1 && !p.fetch.req.Leave
	case p.report != nil:
		for i := range p.report.items {
			if kind := p.report.items[i].Kind; kind != backend.ReportDone && kind != backend.ReportFailed {
				return false
			}
		}
		return true
	}
	return false
}

// The letters of reports, by kind.
var reportLetters = [...]string{
	backend.ReportProgress: "p", backend.ReportDone: "d", backend.ReportFailed: "f", backend.ReportRetry: "r",
	backend.ReportDead: "x", backend.ReportReturn: "b",
}

func (op *reportOp) encode(a *arguments) {
	for i := range op.items {
		it := &op.items[i]
		a.text(it.ID)
		a.text(it.Token)
		if it.After > 0 {
			a.text(reportLetters[it.Kind] + strconv.FormatInt(backend.Millis(it.After), 10))
		} else {
			a.text(reportLetters[it.Kind])
		}
		a.text(op.data[i])
	}
}

func (op *submitOp) encode(a *arguments) {
	r := &op.req
	a.text(r.ID)
	a.text(r.Queue)
	flags := a.flags[:0]
	flags = append(flags, classFlags[r.Class]...)
	if op.digest != "" {
		flags = append(flags, 'g')
	}
	if len(r.Meta) > 0 {
		flags = append(flags, 'm')
	}
	if r.Delay > 0 {
		flags = append(flags, 'd')
	}
	if len(r.Forget) > 0 {
		flags = append(flags, 'o')
	}
	if r.IfListened {
		flags = append(flags, 'i')
	}
	if r.Watch {
		flags = append(flags, 'w')
		if r.Progress {
			flags = append(flags, '+')
		}
	}
	a.flags = flags
	a.text(string(flags))
	a.text(op.timeout)
	a.text(op.life)
	a.text(op.kept)
	a.text(rueidis.BinaryString(r.Payload))
	if len(r.Meta) > 0 {
		a.text(rueidis.BinaryString(r.Meta))
	}
	if r.Delay > 0 {
		a.ttl(r.Delay)
	}
	if len(r.Forget) > 0 {
		a.bytes = a.bytes[:0]
		for _, id := range r.Forget {
			a.bytes = append(append(a.bytes, id...), 0)
		}
		a.text(string(a.bytes))
	}
}

// The flags of submissions, by class.
var classFlags = [...]string{backend.ClassNormal: "", backend.ClassHigh: "h", backend.ClassLow: "l"}

func (op *fetchOp) encode(a *arguments) {
	r := &op.req
	a.text(r.Listener)
	a.text(r.Token)
	a.counts(flag(r.Leave), int(backend.Millis(r.TTL)), int(backend.Millis(r.Mark)), r.Max)
	b := a.bytes[:0]
	for i := range r.Queues {
		b = append(append(b, r.Queues[i].Name...), 0)
		b = append(strconv.AppendInt(b, int64(r.Queues[i].Room), 10), 0)
	}
	a.text(string(b))
	b = b[:0]
	for i := range r.Lanes {
		l := &r.Lanes[i]
		for _, n := range [...]int{l.Queue, int(l.Class), l.Max} {
			b = append(strconv.AppendInt(b, int64(n), 10), ' ')
		}
	}
	a.text(string(b))
	a.bytes = b
}

// decodeExchange reads the reply of taskexchange.lua.
func decodeExchange(batch []*part, reply *rueidis.RedisMessage) error {
	all, err := reply.ToArray()
	if err != nil || len(all) < 4 {
		return unexpected("tasks", reply)
	}
	var now int64
	var reported, renewed, letters string
	if into(&all[0], &now) != nil || into(&all[1], &reported) != nil || into(&all[2], &renewed) != nil || into(&all[3], &letters) != nil {
		return unexpected("tasks", reply)
	}
	all = all[4:]
	for _, p := range batch {
		switch {
		case p.report != nil:
			if p.bits, reported, err = digits(reported, len(p.report.items)); err != nil {
				return err
			}
		case p.submit != nil:
			if letters == "" {
				return unexpected("submit", reply)
			}
			p.submit.letter, letters = letters[0], letters[1:]
			if p.submit.letter != submitJoined {
				continue
			}
			if len(all) == 0 {
				return unexpected("submit", reply)
			}
			if p.submit.joined, err = decodeTask(p.submit.req.ID, &all[0]); err != nil {
				return err
			}
			all = all[1:]
		case p.fetch == nil:
			if p.bits, renewed, err = digits(renewed, len(p.renewals)); err != nil {
				return err
			}
		}
	}
	for _, p := range batch {
		if p.fetch == nil {
			continue
		}
		if len(all) == 0 || !p.fetch.decode(&all[0], now) {
			return unexpected("fetch", reply)
		}
		all = all[1:]
	}
	if len(all) > 0 {
		return unexpected("tasks", reply)
	}
	return nil
}

// decode reads {1 if idle, next, fence, task, ...}.
func (op *fetchOp) decode(m *rueidis.RedisMessage, now int64) bool {
	list, err := m.ToArray()
	if err != nil || len(list) < 3 {
		return false
	}
	var idle, next, fence int64
	if into(&list[0], &idle) != nil || into(&list[1], &next) != nil || into(&list[2], &fence) != nil {
		return false
	}
	op.idle, op.next = idle == 1, millis(next)
	list = list[3:]
	if len(list) == 0 {
		return true
	}
	op.grants = make([]backend.TaskGrant, len(list))
	for i := range list {
		g := &op.grants[i]
		g.Token, g.Fence = op.req.Token, fence+int64(i)
		if !op.decodeGrant(g, &list[i], now) {
			return false
		}
	}
	return true
}

// decodeGrant reads {id, numbers, payload, meta, error, progress}, of which those behind the payload may be missing.
func (op *fetchOp) decodeGrant(g *backend.TaskGrant, m *rueidis.RedisMessage, now int64) bool {
	list, err := m.ToArray()
	if err != nil || len(list) < 3 || len(list) > 6 {
		return false
	}
	var words [6]string
	for i := range list {
		if into(&list[i], &words[i]) != nil {
			return false
		}
	}
	n, ok := sevenNumbers(words[1])
	if !ok || n[0] < 1 || n[0] > int64(len(op.req.Queues)) || n[1] > int64(backend.ClassLow) {
		return false
	}
	fault, ok := decodeFault(words[4])
	end := n[6]
	g.TTL = millis(end - now)
	g.Task = backend.TaskInfo{
		ID: words[0], Queue: op.req.Queues[n[0]-1].Name, State: backend.TaskRunning, Class: backend.TaskClass(n[1]),
		Attempts: int(n[2]), Deaths: int(n[3]), Submitted: time.UnixMilli(n[4]), Deadline: time.UnixMilli(n[5]),
		Remaining: millis(n[5] - now), Error: fault, Progress: bytesOf(words[5]),
		Payload: bytesOf(words[2]), Meta: bytesOf(words[3]),
	}
	return ok
}

// sevenNumbers reads numbers with blanks between them.
func sevenNumbers(text string) (n [7]int64, ok bool) {
	i := 0
	for _, c := range []byte(text) {
		switch {
		case c == ' ':
			if i++; i == len(n) {
				return n, false
			}
		case c >= '0' && c <= '9' && n[i] < 1<<59:
			n[i] = 10*n[i] + int64(c-'0')
		default:
			return n, false
		}
	}
	return n, i == len(n)-1
}

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
	for _, p := range batch {
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
	a.counts("", reports, renewals, submits, fetches)
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
	flags := append(a.flags[:0], classFlags[r.Class]...)
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
	if op.digest != "" {
		a.text(op.digest)
	}
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

// decode reads {1 if idle, next, id, fence, end of the lease, task, ...}.
func (op *fetchOp) decode(m *rueidis.RedisMessage, now int64) bool {
	list, err := m.ToArray()
	if err != nil || len(list)%4 != 2 {
		return false
	}
	var idle, next int64
	if into(&list[0], &idle) != nil || into(&list[1], &next) != nil {
		return false
	}
	op.idle, op.next = idle == 1, millis(next)
	list = list[2:]
	if len(list) == 0 {
		return true
	}
	op.grants = make([]backend.TaskGrant, len(list)/4)
	for i := range op.grants {
		g, m := &op.grants[i], list[4*i:]
		var id string
		var end int64
		if into(&m[0], &id) != nil || into(&m[1], &g.Fence) != nil || into(&m[2], &end) != nil {
			return false
		}
		a, err := decodeTask(id, &m[3])
		if err != nil || a.info.State != backend.TaskRunning {
			return false
		}
		g.Task, g.Token, g.TTL = a.info, op.req.Token, millis(end-now)
	}
	return true
}

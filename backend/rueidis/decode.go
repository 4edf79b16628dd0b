package rueidis

import (
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/redisallocator/redisallocator/backend"
)

// decode reads the reply of exchange.lua.
func decode(batch []*part, reply *rueidis.RedisMessage, plain bool) error {
	all, err := reply.ToArray()
	if err != nil || len(all) < 2 || plain && len(all) < 3 {
		return unexpected("exchange", reply)
	}
	var returned, renewed string
	if into(&all[0], &returned) != nil || into(&all[1], &renewed) != nil {
		return unexpected("exchange", reply)
	}
	var fence int64
	again := false
	takes := all[2:]
	if plain {
		if into(&all[2], &fence) != nil {
			return unexpected("exchange", reply)
		}
		if again = fence < 0; again {
			fence = -1 - fence
		}
		takes = all[3:]
	}
	for _, p := range batch {
		switch {
		case p.take != nil && plain:
			if len(takes) == 0 { // refused
				p.take.again = again
				continue
			}
			if err := p.take.granted(&takes[0], fence); err != nil {
				return err
			}
			takes, fence = takes[1:], fence+1
		case p.take != nil:
			if len(takes) == 0 {
				return unexpected("exchange", reply)
			}
			if err := p.take.decode(&takes[0]); err != nil {
				return err
			}
			takes = takes[1:]
		default:
			if err := p.decodeBits(&returned, &renewed); err != nil {
				return err
			}
		}
	}
	if len(takes) > 0 {
		return unexpected("exchange", reply)
	}
	return nil
}

// granted notes the one member that a plain take got.
func (op *takeOp) granted(member *rueidis.RedisMessage, fence int64) error {
	name, err := member.ToString()
	if err != nil {
		return unexpected("take", member)
	}
	op.grants = []backend.Grant{{Member: name, Token: op.req.Token, Fence: fence, TTL: op.req.TTL}}
	return nil
}

// decode reads the answer to one take: {}, {member, fence, ...}, {first, deadline, known}, or {-1}.
func (op *takeOp) decode(answer *rueidis.RedisMessage) error {
	list, err := answer.ToArray()
	if err != nil {
		return unexpected("take", answer)
	}
	if len(list) == 0 {
		if op.wait { // who is not granted anything is in line
			return unexpected("take", answer)
		}
		return nil
	}
	if list[0].IsInt64() {
		if len(list) == 1 {
			op.again = true
			return nil
		}
		var n [3]int64
		if len(list) != len(n) || !op.wait {
			return unexpected("take", answer)
		}
		for i := range n {
			if n[i], err = list[i].AsInt64(); err != nil {
				return unexpected("take", answer)
			}
		}
		op.waiting, op.first, op.known = true, n[0] == 1, n[2] == 1
		op.deadline = millis(n[1])
		return nil
	}
	if len(list) != 2*max(op.req.Count, 1) {
		return unexpected("take", answer)
	}
	grants := make([]backend.Grant, len(list)/2)
	for i := range grants {
		member, err1 := list[2*i].ToString()
		fence, err2 := list[2*i+1].AsInt64()
		if err1 != nil || err2 != nil {
			return unexpected("take", answer)
		}
		g := &grants[i]
		g.Member, g.Token, g.Fence, g.TTL = member, op.req.Token, fence, op.req.TTL
		if op.req.Shared {
			g.Fence, g.TTL = 0, backend.NoExpiry
		}
	}
	op.grants = grants
	return nil
}

// decodeBits reads what became of the returns or the renewals of a part, and leaves the digits of the parts behind it.
func (p *part) decodeBits(returned, renewed *string) (err error) {
	if len(p.returns) > 0 {
		p.bits, *returned, err = digits(*returned, len(p.returns))
	} else {
		p.bits, *renewed, err = digits(*renewed, len(p.renewals))
	}
	return err
}

// allDigits reads a reply of n digits.
func allDigits(what string, reply *rueidis.RedisMessage, n int) ([]bool, error) {
	text, err := reply.ToString()
	if err != nil || len(text) != n {
		return nil, unexpected(what, reply)
	}
	bits, _, err := digits(text, n)
	return bits, err
}

// digits reads the first n of a string of ones and zeroes, and gives the rest.
func digits(s string, n int) (bits []bool, rest string, err error) {
	if len(s) < n {
		return nil, "", fmt.Errorf("%w: %d digits, not %d", errReply, len(s), n)
	}
	bits = make([]bool, n)
	for i := range bits {
		bits[i] = s[i] == '1'
	}
	return bits, s[n:], nil
}

func unexpected(what string, m *rueidis.RedisMessage) error {
	const readable = 200
	text := m.String()
	if len(text) > readable {
		text = text[:readable] + "..."
	}
	return fmt.Errorf("%w: %s: %s", errReply, what, strconv.Quote(text))
}

package lock

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redisallocator/redisallocator/backend"
)

// Comparison is between a given number and the one that is stored, in this order.
type Comparison uint8

// The comparisons. All but GT and LT have a tolerance of backend.Tolerance, 1e-6.
const (
	GT Comparison = iota + 1 // given > stored
	LT                       // given < stored
	GE                       // given >= stored
	LE                       // given <= stored
	EQ                       // given == stored
	NE                       // given != stored
)

var comparisons = [...]struct {
	cond backend.Condition
	text string
}{
	GT: {backend.IfGreater, ">"},
	LT: {backend.IfLess, "<"},
	GE: {backend.IfGreaterOrEqual, ">="},
	LE: {backend.IfLessOrEqual, "<="},
	EQ: {backend.IfNumEqual, "=="},
	NE: {backend.IfNumNotEqual, "!="},
}

func (c Comparison) known() bool { return c >= GT && c <= NE }

// String is the operator: ">" for [GT].
func (c Comparison) String() string {
	if !c.known() {
		return "comparison " + strconv.Itoa(int(c))
	}
	return comparisons[c].text
}

// condition is what it is to a backend.
func (c Comparison) condition() (backend.Condition, error) {
	if !c.known() {
		return 0, invalid("comparison", strconv.Itoa(int(c)), "is unknown")
	}
	return comparisons[c].cond, nil
}

// SetIf sets the value of name, with the TTL, if v compares like this with the number that is stored: with [GT], if
// v > stored. A name that is free satisfies every comparison. What is written is value or, if that is empty, v itself.
// It reports whether it was written. Python's setgt, setlt, setge, setle, seteq, setne.
//
// A stored value that is no number gets backend.ErrNotNumber, and nothing is changed. Python's default, no end, is
// backend.NoExpiry. One round trip.
//
// With the TTL of an hour, say, it lets the newest version of something pass and remembers it:
//
//	newer, err := keys.SetIf(ctx, "config", lock.GT, version, "", time.Hour)
func (k *Keys) SetIf(
	ctx context.Context, name string, c Comparison, v float64, value string, ttl time.Duration,
) (bool, error) {
	cond, err := c.condition()
	if err != nil {
		return false, fmt.Errorf("set if %.100q: %w", name, err)
	}
	operand := number(v)
	if value == "" {
		value = operand
	}
	return k.set(ctx, "set if", backend.SetItem{Name: name, Value: value, TTL: ttl, Cond: cond, Operand: operand})
}

// DeleteIf removes the value of name if v compares like this with the number that is stored: with [GT], if v > stored.
// It reports whether there was a value that has been removed. Python's delgt and so on, which also say so where there
// was none.
//
// A stored value that is no number gets backend.ErrNotNumber, and nothing is changed. One round trip. A [Mutex] that
// waits for the name finds it within a quarter of a second.
func (k *Keys) DeleteIf(ctx context.Context, name string, c Comparison, v float64) (bool, error) {
	cond, err := c.condition()
	if err != nil {
		return false, fmt.Errorf("delete if %.100q: %w", name, err)
	}
	req := backend.DeleteRequest{
		Namespace: k.ns,
		Kind:      backend.KindLock,
		Items:     []backend.DeleteItem{{Name: name, Cond: cond, Operand: number(v)}},
	}
	if err := k.check(req.Validate()); err != nil {
		return false, fmt.Errorf("delete if %.100q: %w", name, err)
	}
	reply, err := k.be.Delete(ctx, req)
	if err != nil {
		return false, fmt.Errorf("delete if %.100q: %w", name, err)
	}
	return len(reply.Deleted) == 1 && reply.Deleted[0], nil
}

// number writes v as everybody can read it: without an exponent.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

package backend

import (
	"math"
	"strconv"
)

// first gives the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkBatch refuses what cannot be one atomic step.
func checkBatch(field string, n int) error {
	if n == 0 || n > BatchLimit {
		return &InvalidError{Field: field, Value: itoa(n), Reason: "must be 1 to " + itoa(BatchLimit)}
	}
	return nil
}

func checkValue(v string) error {
	if len(v) > MaxNameLen {
		return invalid("value", v, "is longer than "+itoa(MaxNameLen)+" bytes")
	}
	return nil
}

func (c Condition) check(operand string) error {
	if c >= conditions {
		return invalid("condition", itoa(int(c)), "is unknown")
	}
	if c.Numeric() {
		if _, ok := ParseNumber(operand); !ok {
			return invalid("operand", operand, "must be a finite number")
		}
	}
	return checkValue(operand)
}

// ParseNumber reads the decimal numbers that numeric conditions compare: no hexadecimal, no infinities, no blanks.
func ParseNumber(s string) (float64, bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '+', c == '-', c == '.', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// Holds reports whether the numeric condition is satisfied by operand and stored.
func (c Condition) Holds(operand, stored float64) bool {
	d := operand - stored
	switch c {
	case IfGreater:
		return d > 0
	case IfGreaterOrEqual:
		return d >= -Tolerance
	case IfLess:
		return d < 0
	case IfLessOrEqual:
		return d <= Tolerance
	case IfNumEqual:
		return math.Abs(d) <= Tolerance
	case IfNumNotEqual:
		return math.Abs(d) > Tolerance
	default:
		return false
	}
}

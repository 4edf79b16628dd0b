package backend

import (
	"strings"
	"unicode/utf8"
)

// checkName accepts what may be part of a key: non-empty UTF-8 of bounded length without NUL.
//
// Each name of each request comes by here. Almost all are ASCII, which is seen by looking at eight bytes at a time; the
// last word overlaps the one before.
func checkName(field, s string) error {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	odd := uint64(0) // has a top bit if there is a byte that is 0 or above 0x7f
	switch n := len(s); {
	case n == 0 || n > MaxNameLen:
		odd = tops
	case n >= 8:
		for i := 0; i < n; i += 8 {
			x := word(s[min(i, n-8):])
			odd |= x | (x - ones)
		}
	case n >= 4:
		x := uint64(half(s)) | uint64(half(s[n-4:]))<<32
		odd = x | (x - ones)
	default:
		for i := range n {
			odd |= uint64(s[i] | (s[i] - 1))
		}
	}
	if odd&tops == 0 {
		return nil
	}
	return checkOddName(field, s)
}

// checkOddName is checkName for what is not plain ASCII.
func checkOddName(field, s string) error {
	switch {
	case s == "":
		return invalid(field, s, "must not be empty")
	case len(s) > MaxNameLen:
		return invalid(field, s, "is longer than "+itoa(MaxNameLen)+" bytes")
	case strings.IndexByte(s, 0) >= 0:
		return invalid(field, s, "contains NUL")
	case !utf8.ValidString(s):
		return invalid(field, s, "is not UTF-8")
	}
	return nil
}

// word gives the first eight bytes of s, half the first four.
func word(s string) uint64 { return uint64(half(s)) | uint64(half(s[4:]))<<32 }

func half(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// ValidateName reports an [InvalidError] unless name can be the name of a lock, a binding or a set member.
func ValidateName(name string) error { return checkName("name", name) }

// ValidateToken reports an [InvalidError] unless token can be that of an owner. Tokens that start with
// [QuarantinePrefix] are valid: they are how a quarantine is set and lifted.
func ValidateToken(token string) error { return checkName("token", token) }

// ValidateOwner reports an [InvalidError] unless token can be that of a lock's owner: besides being a valid token it must
// not be [SharedToken].
func ValidateOwner(token string) error {
	if token == SharedToken {
		return invalid("token", token, "is reserved")
	}
	return ValidateToken(token)
}

// ValidateMember reports an [InvalidError] unless member can be in a pool: besides being a valid name it must not
// contain "||", equal "#ALLOCATED", or start with a bar, which behind the separator could not be told from it.
func ValidateMember(member string) error {
	if err := checkName("member", member); err != nil {
		return err
	}
	if strings.IndexByte(member, '|') >= 0 && strings.Contains(member, LinkSeparator) {
		return invalid("member", member, "contains "+LinkSeparator)
	}
	if member[0] == '|' {
		return invalid("member", member, "starts with |")
	}
	if member == Allocated {
		return invalid("member", member, "is reserved")
	}
	return nil
}

func checkMembers(members []string) error {
	for _, m := range members {
		if err := ValidateMember(m); err != nil {
			return err
		}
	}
	return nil
}

func checkNames(names []string) error {
	for _, n := range names {
		if err := ValidateName(n); err != nil {
			return err
		}
	}
	return nil
}

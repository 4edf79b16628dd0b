package backend

import (
	"strings"
	"unicode/utf8"
)

// checkName accepts what may be part of a key: non-empty UTF-8 of bounded length without NUL.
func checkName(field, s string) error {
	if plain(s) {
		return nil
	}
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

// plain reports whether s is what almost every name is: ASCII without NUL, and not too long. It looks at eight bytes at
// a time, because each name of each request comes by here.
func plain(s string) bool {
	if s == "" || len(s) > MaxNameLen {
		return false
	}
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if (x|(x-ones))&tops != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i]-1 >= 0x7f {
			return false
		}
	}
	return true
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

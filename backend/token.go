package backend

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"sync/atomic"
)

// QuarantinePrefix starts the token of a member that nobody holds but that nobody may have either.
const QuarantinePrefix = "#QUARANTINED|"

// QuarantineToken is the token under which a member is kept back. It remembers whose finding it was: owner is the
// token of the lease, or free text.
func QuarantineToken(owner string) string { return QuarantinePrefix + owner }

// IsQuarantine reports whether the token says that a member is kept back.
func IsQuarantine(token string) bool { return strings.HasPrefix(token, QuarantinePrefix) }

var (
	processID = newProcessID()
	tokens    atomic.Uint64
)

func newProcessID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// ProcessID is a random name for this process: 16 hexadecimal digits, new at each start.
func ProcessID() string { return processID }

// NewToken gives a token that no other call, in this process or another, has given: the process and a counter.
func NewToken() string {
	var b [16 + 1 + 13]byte
	n := copy(b[:], processID)
	b[n] = '/'
	return string(strconv.AppendUint(b[:n+1], tokens.Add(1), 36))
}

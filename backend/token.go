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
	n := tokens.Add(1)
	b := batch.Load()
	if b == nil || b.number != n/batchSize {
		b = newTokenBatch(n / batchSize)
		batch.Store(b) // whoever else does so makes the same
	}
	return b.token(n % batchSize)
}

// tokenBatch is batchSize tokens in one string, which is cheaper to make than as many strings. They differ in the last
// digit alone. It is short because one token that is kept keeps all of it.
type tokenBatch struct {
	number uint64
	text   string
}

const (
	batchSize = 16
	digits    = "0123456789abcdef"
)

var batch atomic.Pointer[tokenBatch]

func newTokenBatch(number uint64) *tokenBatch {
	const longest = 16 + 1 + 16
	var b [batchSize * longest]byte
	text := append(append(b[:0], processID...), '/')
	text = strconv.AppendUint(text, number, batchSize)
	first := len(text)
	for i := range digits {
		if i > 0 {
			text = append(text, text[:first]...)
		}
		text = append(text, digits[i])
	}
	return &tokenBatch{number: number, text: string(text)}
}

func (b *tokenBatch) token(i uint64) string {
	n := uint64(len(b.text)) / batchSize
	return b.text[i*n : (i+1)*n]
}

package lock

import (
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/redisallocator/redisallocator/backend"
)

// Holder is one who holds a lock, as the store has it.
type Holder struct {
	// Token is the value in the store. [Held.Token] is the same.
	Token string

	// Host, PID, Since and Info are what [ParseHolder] could read from the token. They are empty for a token that
	// was given by [Token], or that Python wrote.
	Host  string
	PID   int
	Since time.Time // when the lock was asked for, by the clock of that host; what was waited is included
	Info  string    // Config.Info

	// Units and TTL are those of the lease. Units is 0 for who holds the name alone. TTL is backend.NoExpiry for what
	// never runs out. ParseHolder leaves both empty.
	Units int
	TTL   time.Duration
}

// A token says who holds a lock, in a form for people:
//
//	host=web-1 pid=4711 since=2025-06-01T12:00:00.123Z id=9f86d081884c7d65/1a info=nightly report
//
// What makes it unique is the id.
const (
	fieldHost  = "host="
	fieldPID   = " pid="
	fieldSince = " since="
	fieldID    = " id="
	fieldInfo  = " info="

	// maxHost is how much of a host's name is used: the longest label of a domain name.
	maxHost = 63
)

// processToken is how the tokens of this process begin.
var processToken = fieldHost + hostName() + fieldPID + strconv.Itoa(os.Getpid()) + fieldSince

func hostName() string {
	name, _ := os.Hostname()
	name = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if len(name) > maxHost {
		name = strings.ToValidUTF8(name[:maxHost], "")
	}
	return name
}

// newToken gives a token that no other call, in this process or another, has given. text is what follows the id.
func newToken(text string) string {
	var buf [256]byte
	b := append(buf[:0], processToken...)
	b = time.Now().UTC().Truncate(time.Millisecond).AppendFormat(b, time.RFC3339Nano)
	b = append(b, fieldID...)
	b = append(b, backend.NewToken()...)
	b = append(b, text...)
	return string(b)
}

// tokenText is the end of the tokens of a lock with this text.
func tokenText(info string) string {
	if info == "" {
		return ""
	}
	return fieldInfo + info
}

// ParseHolder reads who holds a lock from its value in the store. ok is false if this package did not write it; then
// only Token is set.
func ParseHolder(value string) (h Holder, ok bool) {
	foreign := Holder{Token: value}
	rest, ok := strings.CutPrefix(value, fieldHost)
	if !ok {
		return foreign, false
	}
	h.Token = value
	var pid, since string
	if h.Host, rest, ok = strings.Cut(rest, fieldPID); !ok || strings.Contains(h.Host, " ") {
		return foreign, false
	}
	if pid, rest, ok = strings.Cut(rest, fieldSince); !ok {
		return foreign, false
	}
	if since, rest, ok = strings.Cut(rest, fieldID); !ok {
		return foreign, false
	}
	id, info, _ := strings.Cut(rest, fieldInfo)
	if id == "" || strings.Contains(id, " ") {
		return foreign, false
	}
	h.Info = info
	var err error
	if h.PID, err = strconv.Atoi(pid); err != nil {
		return foreign, false
	}
	if h.Since, err = time.Parse(time.RFC3339Nano, since); err != nil {
		return foreign, false
	}
	return h, true
}

package rueidis

import (
	"strings"
	"unicode/utf8"
)

// plain reads a record as the scripts write most of them: texts without escapes, whole numbers, and no blanks. It reports
// false for any other, of which it may have read a part. It is several times as quick as what reads any JSON: as many
// records arrive as tasks end.
func (r *taskRecord) plain(text string) bool {
	if len(text) < 2 || text[0] != '{' {
		return false
	}
	for text = text[1:]; ; text = text[1:] {
		name, rest, ok := plainString(text)
		if !ok || rest == "" || rest[0] != ':' {
			return false
		}
		rest = rest[1:]
		if rest != "" && rest[0] == '"' {
			var value string
			if value, rest, ok = plainString(rest); !ok || !r.setText(name, value) {
				return false
			}
		} else {
			var value int64
			if value, rest, ok = plainInt(rest); !ok || !r.setNumber(name, value) {
				return false
			}
		}
		if rest == "}" {
			return true
		}
		if rest == "" || rest[0] != ',' {
			return false
		}
		text = rest
	}
}

func (r *taskRecord) setText(name, value string) bool {
	switch name {
	case "state":
		r.State = value
	case "reason":
		r.Reason = value
	case "queue":
		r.Queue = value
	case "result":
		r.Result = value
	case "result64":
		r.Result64 = value
	case "error":
		r.Error = value
	case "error64":
		r.Error64 = value
	case "digest", "token":
	default:
		return false
	}
	return true
}

func (r *taskRecord) setNumber(name string, value int64) bool {
	switch name {
	case "class":
		if value > 255 {
			return false
		}
		r.Class = uint8(value)
	case "attempts":
		r.Attempts = int(value)
	case "deaths":
		r.Deaths = int(value)
	case "submitted":
		r.Submitted = value
	case "deadline":
		r.Deadline = value
	case "finished":
		r.Finished = value
	default:
		return false
	}
	return true
}

// plainString reads a string without escapes.
func plainString(text string) (value, rest string, ok bool) {
	if text == "" || text[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(text[1:], '"')
	if end < 0 {
		return "", "", false
	}
	value = text[1 : 1+end]
	ascii := true
	for i := range len(value) {
		c := value[i]
		if c < ' ' || c == '\\' {
			return "", "", false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return value, text[2+end:], ascii || utf8.ValidString(value)
}

// plainInt reads a whole number that is not negative.
func plainInt(text string) (value int64, rest string, ok bool) {
	const most = 18 // digits that surely fit
	n := 0
	for n < len(text) && n < most && text[n] >= '0' && text[n] <= '9' {
		value = 10*value + int64(text[n]-'0')
		n++
	}
	return value, text[n:], n > 0 && (n == 1 || text[0] != '0')
}

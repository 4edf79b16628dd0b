package rueidis

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/backend"
)

// finalRecord is a record as the scripts write it, with the result that a report brings.
func finalRecord(result []byte) string {
	more := jsonMember("result", result)
	if more != "" {
		more = "," + more
	}
	return `{"state":"done","queue":"q","class":2,"attempts":3,"deaths":1,"submitted":1000,"deadline":9000,"finished":2000,"digest":"d","token":"u"` + more + `}`
}

// FuzzRecord: whatever stands under a result key, reading it breaks nothing, and gives something final or says that it is
// not ours; what is written there comes back.
func FuzzRecord(f *testing.F) {
	for _, text := range []string{
		"", "{", "{}", "null", "[]", `"done"`, `{"state":"done"}`, `{"state":"waiting"}`, `{"state":7}`, `{"state":"dead","reason":"deaths"}`,
		`{"state":"done","result64":"?"}`, `{"state":"done","result64":"AA=="}`, `{"state":"done","result":null}`, `{"state":"failed","error":"\ud800"}`,
		`{"state":"done","class":-1}`, `{"state":"done","class":300}`, `{"state":"done","attempts":1e99}`, `{"state":"done"} more`, "\x80\x04K\x01.",
		finalRecord(nil), finalRecord([]byte("text")), finalRecord([]byte{0, 0xff}), `{"STATE":"done"}`, `{"state":"done","state":"dead"}`,
		`{"state":"done",}`, `{"state":"done","class":01}`, `{"state":"done","finished":1e3}`, `{"state":"done","finished":-1}`, `{"finished":999999999999999999}`,
		`{"state":"done","finished":9999999999999999999}`, `{"state":"done"}}`, `{"state":"done", "class":1}`, `{"state":"\u0064one"}`, "{\"state\":\"\xff\"}",
		`{"state":7}`, `{"class":"x"}`, `{"state":"done""class":1}`, `{"digest":1,"token":"t"}`, `{,}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var quick, any taskRecord
		if quick.plain(string(data)) {
			require.NoError(t, json.Unmarshal(data, &any), "%q", data)
			assert.Equal(t, any, quick, "%q", data)
		}
		a, ok := decodeRecord("id", string(data))
		assert.Equal(t, ok, a.kind == taskEnded)
		if ok {
			assert.True(t, a.info.State.Final())
			assert.LessOrEqual(t, a.info.Class, backend.ClassLow)
			assert.Equal(t, "id", a.info.ID)
		}
		a, ok = decodeTaskText("id", string(data))
		assert.False(t, ok && (a.info.State.Final() || a.info.State == backend.TaskUnknown))

		text := finalRecord(data)
		a, ok = decodeRecord("id", text)
		require.True(t, ok, text)
		assert.Equal(t, string(data), string(a.info.Result))
		assert.Equal(t, int64(2000), a.finished)
		if !utf8.Valid(data) {
			assert.Contains(t, text, base64.StdEncoding.EncodeToString(data))
		}
	})
}

// FuzzTaskMessage: whatever arrives on the channel about tasks, nothing breaks, and only those who were named are told.
func FuzzTaskMessage(f *testing.F) {
	for _, words := range [][]string{
		{},
		{"w", "l"},
		{"w"},
		{"l", "l", "id", "token"},
		{"l", "l", "id"},
		{"f", "id", doneRecord(200, "y")},
		{"f", "id", ""},
		{"f", "id"},
		{"p", "id", ""},
		{"p", "id", "1:r"},
		{"p", "id", "1:w3:1501:q1:01:11:01:13:2002:-10:0:"},
		{"p", "id", "1:r3:1501:q1:01:11:01:15:999991:00:4:half"},
		{"f", "id", doneRecord(200, "y"), "w", "l"},
		{"x"},
		{"f", "other", "x"},
	} {
		f.Add(strings.TrimPrefix(message(words...), "1:T"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		ts := newTaskSpace()
		defer ts.close()
		quiet := ts.began(ts.expectWatch("id", false), waitingTask("id", 100))
		loud := ts.began(ts.expectWatch("id", true), waitingTask("id", 100))
		l := ts.listener("l")
		ts.sp.message("1:T" + text)
		select {
		case c := <-quiet.Changes:
			assert.NoError(t, c.Err)
			assert.True(t, c.Task.State.Final())
			assert.Contains(t, text, "2:id")
		default:
		}
		select {
		case c := <-loud.Changes:
			assert.NoError(t, c.Err)
			assert.NotEqual(t, backend.TaskUnknown, c.Task.State)
			assert.Contains(t, text, "2:id")
		default:
		}
		if len(l.wake)+len(l.lost) > 0 {
			assert.Contains(t, text, "1:l")
		}
	})
}

func TestPlainRecord(t *testing.T) {
	var r taskRecord
	require.True(t, r.plain(finalRecord([]byte("result of \u00fc"))))
	require.Equal(t, "done", r.State)
	require.Equal(t, int64(9000), r.Deadline)
	require.Equal(t, "result of \u00fc", r.Result)
	require.False(t, r.plain(finalRecord([]byte("two\nlines"))))
}

func BenchmarkDecodeRecord(b *testing.B) {
	for name, data := range map[string][]byte{"plain": []byte("result"), "escaped": []byte("a result that is in\ntwo lines")} {
		text := finalRecord(data)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decodeRecord("id", text)
			}
		})
	}
}

package luascript

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// scripts are those that are sent, by the name of the variable.
var scripts = map[string]string{
	"Exchange": Exchange, "Extend": Extend, "Shrink": Shrink, "Assign": Assign, "Release": Release, "Collect": Collect,
	"Watch": Watch, "Leave": Leave, "Reclaim": Reclaim, "Set": Set, "Delete": Delete, "Inspect": Inspect, "Get": Get,
	"Scan": Scan, "LockExchange": LockExchange,
	"LockWatch": LockWatch, "LockLeave": LockLeave, "LockUndo": LockUndo, "LockForce": LockForce, "LockLimit": LockLimit, "LockHolders": LockHolders, "Replace": Replace, "Members": Members, "Queue": Queue, "Probe": Probe,
	"TaskExchange": TaskExchange, "TaskUndo": TaskUndo, "TaskWatch": TaskWatch, "TaskEdit": TaskEdit, "TaskLook": TaskLook, "TaskList": TaskList, "TaskStats": TaskStats,
}

// part reports whether a file is put in front of others, which its header says, and is no script by itself.
func part(text string) bool {
	return regexp.MustCompile(`(?i)\bput in front of\b`).MatchString(header(text))
}

// files gives the content of each .lua file.
func files(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*.lua")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	found := make(map[string]string, len(names))
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		found[name] = string(text)
	}
	return found
}

// source gives luascript.go without its comments.
func source(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("luascript.go")
	require.NoError(t, err)
	return regexp.MustCompile(`(?m)//.*$`).ReplaceAllString(string(text), "")
}

func TestEveryScriptIsListedAbove(t *testing.T) {
	listed := make([]string, 0, len(scripts))
	for name := range scripts {
		listed = append(listed, name)
	}
	var exported []string
	for _, name := range regexp.MustCompile(`(?m)^\s*(?:var )?([A-Z]\w*)`).FindAllStringSubmatch(source(t), -1) {
		exported = append(exported, name[1])
	}
	assert.ElementsMatch(t, exported, listed)
}

// TestEveryFileIsUsed: each is a part of some script, and is its end unless it is one that is shared.
func TestEveryFileIsUsed(t *testing.T) {
	for name, text := range files(t) {
		in, ends := 0, 0
		for _, script := range scripts {
			switch {
			case strings.HasSuffix(script, text):
				ends++
			case strings.Contains(script, text):
				in++
			}
		}
		if part(text) {
			assert.Positive(t, in, "%s is in no script", name)
			assert.Zero(t, ends, "%s is a script", name)
		} else {
			assert.Zero(t, in, "%s is inside of a script", name)
			assert.Equal(t, 1, ends, "scripts that %s is", name)
		}
	}
}

// TestEveryScriptIsCalled: by the backend, under its name.
func TestEveryScriptIsCalled(t *testing.T) {
	names, err := filepath.Glob("../../backend/rueidis/*.go")
	require.NoError(t, err)
	var backend strings.Builder
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		backend.Write(text)
	}
	for name := range scripts {
		assert.Regexp(t, `\bluascript\.`+name+`\b`, backend.String())
	}
}

// header gives the comment at the top of a file.
func header(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestHeaders: each file says what it is, what it takes, what it answers and what it costs.
func TestHeaders(t *testing.T) {
	for name, text := range files(t) {
		head := header(text)
		assert.Regexp(t, `^-- [A-Z]`, head, name)
		if part(text) {
			continue
		}
		assert.Regexp(t, `(?m)^-- Reply \S`, head, name)
		assert.Regexp(t, `(?m)^-- Cost  \S`, head, name)
		// KEYS and ARGV of a script on pools and lines are those of prelude.lua, the rest its own
		onPools := false
		for _, script := range scripts {
			onPools = onPools || strings.HasSuffix(script, prelude+text)
		}
		for _, table := range []string{"KEYS", "ARGV"} {
			if uses := regexp.MustCompile(`[^'"]\b` + table + `\b`).MatchString(strings.TrimPrefix(text, head)); uses && (!onPools || table == "ARGV") {
				assert.Regexp(t, `(?m)^-- `+table+`  \S`, head, name)
			}
		}
	}
	assert.Regexp(t, `(?m)^-- KEYS  1 `, header(prelude))
	assert.Regexp(t, `(?m)^-- ARGV  1 `, header(prelude))
}

// TestNothingIsMadeIntoSource: no script compiles what it is given, and the Go side only puts files one after the other.
func TestNothingIsMadeIntoSource(t *testing.T) {
	for name, text := range files(t) {
		assert.NotRegexp(t, `\b(loadstring|load|dofile|require|setfenv|getfenv|rawset|_G)\b\s*[(\[.]`, text, name)
		// a command's name is a word, or is in a variable that is one: no data can become one
		assert.NotRegexp(t, `\b(redis\.)?p?call\(\s*(KEYS|ARGV)\b`, text, name)
		assert.NotRegexp(t, `\b(redis\.)?p?call\([^,)]*\.\.`, text, name)
		// a pattern is a word as well
		for _, find := range regexp.MustCompile(`string\.(find|match|gmatch|gsub)\(([^\n]*)`).FindAllStringSubmatch(text, -1) {
			args := find[2]
			assert.True(t, strings.Contains(args, ", true)") || regexp.MustCompile(`^[^']*, '[^']*'`).MatchString(args), "%s: %s", name, find[0])
		}
		for _, format := range regexp.MustCompile(`string\.format\(([^,)]*)`).FindAllStringSubmatch(text, -1) {
			assert.Regexp(t, `^'[^']*'$`, format[1], name)
		}
	}
	assert.NotRegexp(t, `\bfunc\b|\w\(`, source(t), "luascript.go does something")
}

// TestScriptsCompile: the server accepts each.
func TestScriptsCompile(t *testing.T) {
	url := redistest.URL(t)
	addr := url[strings.LastIndexAny(url, "/@")+1:]
	if strings.Count(url, "/") != 2 || strings.Contains(url, "@") {
		addr = redistest.Start(t).Addr() // REDIS_URL says more than where it is
	}
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	r := bufio.NewReader(conn)
	for name, script := range scripts {
		request := ""
		for _, word := range []string{"SCRIPT", "LOAD", script} {
			request += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
		}
		_, err := io.WriteString(conn, "*3\r\n"+request)
		require.NoError(t, err)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "$40\r\n", line, name)
		_, err = r.Discard(42)
		require.NoError(t, err)
	}
}

package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/redis/rueidis"
)

// A machine is what the figures come from. What cannot be found out is empty.
type machine struct {
	cpu, kernel, goVersion string
	cores, procs           int
	server                 string   // name and version
	config                 []string // of the server, as in its file
	commit                 string   // of the library
	modules                []module
}

type module struct{ path, version string }

// peers are those that are measured, with the libraries through which they talk to the server.
var peers = []string{
	"github.com/redis/rueidis",
	"github.com/redis/go-redis/v9",
	"github.com/bsm/redislock",
	"github.com/go-redsync/redsync/v4",
	"github.com/hibiken/asynq",
	"github.com/jackc/puddle/v2",
}

// settings of a server are those that tell on its speed.
var settings = []string{"save", "appendonly", "appendfsync", "io-threads", "maxmemory", "maxmemory-policy"}

// describe looks at this machine, and at the server if there is one.
func describe(ctx context.Context, url string) machine {
	m := machine{
		cpu:       field("/proc/cpuinfo", "model name"),
		kernel:    strings.TrimSpace(runtime.GOOS + " " + content("/proc/sys/kernel/osrelease")),
		goVersion: runtime.Version() + " " + runtime.GOARCH,
		cores:     runtime.NumCPU(),
		procs:     runtime.GOMAXPROCS(0),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		m.commit, m.modules = commit(info.Settings), versions(info.Deps)
	}
	if url != "" {
		b := bench{url: url}
		if c, err := b.client(); err == nil {
			m.server, m.config = describeServer(ctx, c)
		}
		b.close()
	}
	return m
}

// describeServer gives what a server says about itself, and how it is set if it tells.
func describeServer(ctx context.Context, c rueidis.Client) (name string, config []string) {
	if info, err := c.Do(ctx, c.B().Info().Section("server").Build()).ToString(); err == nil {
		about := pairsOf(strings.Split(info, "\r\n"), ":")
		name = "Redis " + about["redis_version"]
		if v := about["valkey_version"]; v != "" {
			name = "Valkey " + v
		}
	}
	set, err := c.Do(ctx, c.B().ConfigGet().Parameter(settings...).Build()).AsStrMap()
	if err != nil {
		return name, nil
	}
	for _, s := range settings {
		if v, ok := set[s]; ok {
			config = append(config, s+" "+cmp.Or(v, `""`))
		}
	}
	return name, config
}

// commit is that which was built, as far as the go command has noted it.
func commit(settings []debug.BuildSetting) string {
	set := make(map[string]string)
	for _, s := range settings {
		set[s.Key] = s.Value
	}
	id := set["vcs.revision"]
	if len(id) > 12 {
		id = id[:12]
	}
	if id != "" && set["vcs.modified"] == "true" {
		id += ", with changes that are not committed"
	}
	return id
}

// versions gives those of the peers.
func versions(deps []*debug.Module) (list []module) {
	for _, path := range peers {
		for _, d := range deps {
			if d.Path == path {
				list = append(list, module{path, d.Version})
			}
		}
	}
	return list
}

// field is the value of a line "name : value" of a file.
func field(file, name string) string {
	return pairsOf(strings.Split(content(file), "\n"), ":")[name]
}

// pairsOf reads lines of a name and a value. The first of a name counts.
func pairsOf(lines []string, separator string) map[string]string {
	found := make(map[string]string)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, separator)
		if name = strings.TrimSpace(name); found[name] == "" {
			found[name] = strings.TrimSpace(value)
		}
	}
	return found
}

// content is that of a small file, without the blanks around it.
func content(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func (m *machine) processors() string {
	s := plural(m.cores, "processor")
	if m.procs != m.cores {
		s += fmt.Sprintf(", GOMAXPROCS %d", m.procs)
	}
	return s
}

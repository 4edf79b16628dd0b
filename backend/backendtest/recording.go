package backendtest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
)

//go:embed testdata/compat/traces.json
var traces []byte

// TracesVariable is the environment variable that names another file of recordings for [Replay].
const TracesVariable = "COMPAT_TRACES"

// Recording is one run of the Python library, step by step. testdata/compat/README.md describes the form.
type Recording struct {
	Name   string `json:"name"`
	Prefix string `json:"prefix"`
	Suffix string `json:"suffix"`
	Shared bool   `json:"shared"`
	Steps  []Step `json:"steps"`
}

// Step is one operation, its reply and the state after it.
type Step struct {
	Op           string          `json:"op"`
	Keys         []string        `json:"keys"`
	Key          string          `json:"key"`
	Name         string          `json:"name"`
	Timeout      float64         `json:"timeout"`
	CacheTimeout float64         `json:"cache_timeout"`
	Count        int             `json:"count"`
	Reply        json.RawMessage `json:"reply"`
	State        State           `json:"state"`
}

// reply gives the recorded reply as it is compared, if there is one: that of malloc is a key or null.
func (s *Step) reply() (string, bool) {
	if s.Op == "lapse" || s.Reply == nil && s.Op != "malloc" {
		return "", false
	}
	var v any
	if s.Reply != nil {
		if err := json.Unmarshal(s.Reply, &v); err != nil {
			return err.Error(), true
		}
	}
	return text(v), true
}

// State is what can be seen of a pool, without values of locks and without clocks.
type State struct {
	Pool  map[string][3]string `json:"pool"` // member -> prev, next, expiry: "-1" or "set"
	Head  string               `json:"head"`
	Tail  string               `json:"tail"`
	Locks map[string]string    `json:"locks"` // name -> "none" (no TTL) or "some"
	Binds map[string][2]string `json:"binds"` // name -> member, "none" or "some"
}

// Recordings reads the recordings that come with the package, or the file that [TracesVariable] names.
func Recordings() ([]Recording, error) {
	data, from := traces, "the built-in recordings"
	if path := os.Getenv(TracesVariable); path != "" {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("%s: %w", TracesVariable, err)
		}
		from = path
	}
	var all []Recording
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: there are none", from)
	}
	return all, nil
}

// lockNames are all names that occur as a member or a key, or that have a lock in some state.
func (rec *Recording) lockNames() []string {
	names := map[string]bool{}
	for _, s := range rec.Steps {
		for _, k := range s.Keys {
			names[k] = true
		}
		if s.Key != "" {
			names[s.Key] = true
		}
		for m := range s.State.Pool {
			names[m] = true
		}
		for m := range s.State.Locks {
			names[m] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// bindNames are all names that occur as a binding.
func (rec *Recording) bindNames() []string {
	names := map[string]bool{}
	for _, s := range rec.Steps {
		if s.Name != "" {
			names[s.Name] = true
		}
		for n := range s.State.Binds {
			names[n] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

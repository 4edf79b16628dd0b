// Command custompolicy hands out the member that failed the longest time ago.
//
// A policy is a chain of parts. This one checks each member before it is handed out, which comes with the library, and
// tells an order of our own when one fails. Nothing is quarantined: what failed is tried again, only later than all
// others.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/policy"
	"github.com/redisallocator/redisallocator/pool"
)

// down is the mirror that does not work at the moment.
var down string

// Mirror is one of several servers with the same content.
type Mirror struct{ host string }

// Configure learns which mirror this is.
func (m *Mirror) Configure(key string, _ any) error {
	m.host = key
	return nil
}

// CheckHealth would ask the server.
func (m *Mirror) CheckHealth(context.Context) error {
	if m.host == down {
		return fmt.Errorf("%s is down", m.host)
	}
	return nil
}

func main() {
	if err := download(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func download(ctx context.Context) error {
	var seen failures
	be := memory.New()
	defer be.Close()
	mirrors, err := pool.New(be, pool.Config[*Mirror]{
		Namespace: backend.Namespace{Prefix: "downloads", Suffix: "mirrors"},
		Policy: policy.Chain(
			policy.CheckBeforeUse[*Mirror](policy.HealthConfig{
				Quarantine:  policy.NoQuarantine,
				OnUnhealthy: func(key string, _ error) { seen.failed(key) },
			}),
			policy.Order(seen.leastRecent), // inside of the check, so that the second attempt knows of the first
		),
	})
	if err != nil {
		return err
	}
	defer mirrors.Close()
	if err := mirrors.Extend(ctx, []string{"amsterdam", "berlin", "cairo"}); err != nil {
		return err
	}

	for _, now := range []struct {
		what string
		down string
	}{
		{"all is well", ""},
		{"amsterdam fails", "amsterdam"},
		{"amsterdam is back", ""},
		{"berlin fails", "berlin"},
		{"cairo fails", "cairo"},
		{"all is well again", ""},
	} {
		down = now.down
		mirror, err := mirrors.Malloc(ctx, new(Mirror))
		if err != nil {
			return err
		}
		fmt.Printf("%s: we use %s\n", now.what, mirror.Key())
		if err := mirror.Release(ctx); err != nil {
			return err
		}
	}
	return nil
}

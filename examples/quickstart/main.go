// Command quickstart shares two GPUs among three who want one. It runs in memory; with another backend it would do the
// same between processes on different machines.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/pool"
)

// GPU is what the pool hands out.
type GPU struct{ device string }

// Configure tells the GPU which one it is. It is the only method that a pool asks for.
func (g *GPU) Configure(key string, _ any) error {
	g.device = key
	return nil
}

func main() {
	if err := share(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func share(ctx context.Context) error {
	be := memory.New() // or rueidis.Open(ctx, "redis://localhost:6379")
	defer be.Close()

	gpus, err := pool.New(be, pool.Config[*GPU]{
		Namespace: backend.Namespace{Prefix: "lab", Suffix: "gpus"},
		TTL:       time.Minute, // how long a process that died keeps what it had
	})
	if err != nil {
		return err
	}
	defer gpus.Close()
	if err := gpus.Extend(ctx, []string{"gpu0", "gpu1"}); err != nil {
		return err
	}

	alice, err := gpus.Malloc(ctx, new(GPU))
	if err != nil {
		return err
	}
	fmt.Println("alice works on", alice.Object().device)

	bob, err := gpus.Malloc(ctx, new(GPU))
	if err != nil {
		return err
	}
	defer bob.Release(ctx)
	fmt.Println("bob works on", bob.Object().device)

	_, err = gpus.Malloc(ctx, new(GPU))
	fmt.Println("carol does not get one:", err)

	time.AfterFunc(50*time.Millisecond, func() { _ = alice.Release(ctx) })
	carol, err := gpus.Acquire(ctx, new(GPU)) // which waits in line
	if err != nil {
		return err
	}
	defer carol.Release(ctx)
	fmt.Println("carol waited and works on", carol.Object().device)
	return nil
}

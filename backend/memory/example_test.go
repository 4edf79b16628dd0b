package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
)

func Example() {
	ctx := context.Background()
	b := memory.New()
	defer b.Close()

	ns := backend.Namespace{Prefix: "lab", Suffix: "devices"}
	_, err := b.Extend(ctx, backend.ExtendRequest{Namespace: ns, Members: []string{"scope-1", "scope-2"}, TTL: backend.NoExpiry})
	if err != nil {
		fmt.Println(err)
		return
	}

	token := backend.NewToken()
	took, err := b.Take(ctx, backend.TakeRequest{Namespace: ns, Token: token, TTL: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	member := took.Grants[0].Member
	fmt.Println("took", member)

	back, err := b.Return(ctx, backend.ReturnRequest{Namespace: ns, Items: []backend.Held{{Member: member, Token: token}}})
	fmt.Println("given back:", back.Returned[0], err)

	pool, err := b.Inspect(ctx, backend.InspectRequest{Namespace: ns})
	fmt.Println("next is", pool.Head, "then", pool.Tail, err)
	// Output:
	// took scope-1
	// given back: true <nil>
	// next is scope-2 then scope-1 <nil>
}

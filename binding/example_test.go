package binding_test

import (
	"context"
	"fmt"

	"github.com/redisallocator/redisallocator/backend"
	"github.com/redisallocator/redisallocator/backend/memory"
	"github.com/redisallocator/redisallocator/binding"
)

// An administrator moves an account to another proxy: its next allocation takes that one, if it is free.
func Example() {
	ctx := context.Background()
	be := memory.New()
	defer be.Close()

	bindings, err := binding.New(be, backend.Namespace{Prefix: "crawler", Suffix: "proxies"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := bindings.Bind(ctx, "account-7", "10.0.0.1:8080", 0); err != nil {
		fmt.Println(err)
		return
	}
	key, bound, err := bindings.Lookup(ctx, "account-7")
	fmt.Println(key, bound, err)
	for b, err := range bindings.BindingsOf(ctx, "10.0.0.1:8080") {
		fmt.Println(b.Name, err)
	}
	existed, err := bindings.Unbind(ctx, "account-7")
	fmt.Println("was bound:", existed, err)
	// Output:
	// 10.0.0.1:8080 true <nil>
	// account-7 <nil>
	// was bound: true <nil>
}

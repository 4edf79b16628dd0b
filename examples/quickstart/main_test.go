package main

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	main()
	// Output:
	// alice works on gpu0
	// bob works on gpu1
	// carol does not get one: malloc lab|gpus: no free member
	// carol waited and works on gpu0
}

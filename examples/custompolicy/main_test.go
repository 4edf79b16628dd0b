package main

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	main()
	// Output:
	// all is well: we use amsterdam
	// amsterdam fails: we use berlin
	// amsterdam is back: we use berlin
	// berlin fails: we use cairo
	// cairo fails: we use amsterdam
	// all is well again: we use amsterdam
}

package redistest

import (
	"flag"
	"strconv"
)

// Parallel lets so many tests run in parallel, unless -parallel says otherwise. A TestMain calls it whose tests wait for
// most of their time.
func Parallel(tests int) {
	flag.Parse()
	byHand := false
	flag.Visit(func(f *flag.Flag) { byHand = byHand || f.Name == "test.parallel" })
	if !byHand {
		_ = flag.Set("test.parallel", strconv.Itoa(tests))
	}
}

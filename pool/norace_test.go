//go:build !race

package pool_test

// raceEnabled has tests of size take a tenth: the race detector makes them ten times slower.
const raceEnabled = false

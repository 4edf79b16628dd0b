//go:build race

package lock_test

// raceEnabled: the race detector allocates, and takes ten times as long.
const raceEnabled = true

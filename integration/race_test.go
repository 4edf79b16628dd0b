//go:build race

package integration

// raceDetector makes everything some times slower.
const raceDetector = true

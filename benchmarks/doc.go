// Package benchmarks measures the library against other ways to do the same and against the server's own
// speed.
//
// [Run], which is cmd/goals, measures the goals that the library has set itself. Both sides of a comparison run in
// turns on the same machine, and what counts is the median of the ratios, so that figures from different machines
// can be compared; a busy machine still blurs them. The same operations are there for go test -bench, where a
// profile can be had.
//
// It is a module of its own, so that the libraries it compares with stay out of an importer's go.sum.
package benchmarks

// Command goals measures the speed goals of the library, each against what it is compared with, and prints a line for
// each: name, ours, the other, the ratio or difference that counts, the smallest and the largest of the rounds, the goal,
// and whether it is met.
//
// It measures on the server at REDIS_URL or, without that, on one that it starts. It fails only if it cannot measure
// at all. With -page it measures plots as well, and writes a page of all of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"

	"github.com/redisallocator/redisallocator/benchmarks"
)

func main() {
	benchmarks.Contend()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "goals:", err)
		os.Exit(1)
	}
}

func run() error {
	opts := benchmarks.Defaults()
	flag.Func("only", "measure the goals, and the plots, whose `names` match this regular expression", func(s string) (err error) {
		opts.Only, err = regexp.Compile(s)
		return err
	})
	flag.IntVar(&opts.Rounds, "rounds", opts.Rounds, "how many rounds to compare, besides a first one that does not count")
	flag.DurationVar(&opts.Duration, "duration", opts.Duration, "how long each side of a round lasts")
	page := flag.String("page", "", "write a page to this `file`, and say on stderr what is measured")
	pictures := flag.String("plots", "docs/benchmarks", "the `directory` of its plots, seen from the page")
	flag.Parse()
	if flag.NArg() > 0 || opts.Rounds < 1 || opts.Duration <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	if *page != "" {
		opts.Page, opts.Progress = true, os.Stderr
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	report, err := benchmarks.Run(ctx, os.Stdout, opts)
	if err != nil || !opts.Page {
		return err
	}
	return report.WritePage(*page, *pictures)
}

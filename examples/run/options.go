package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	url     string
	prefix  string
	pool    string
	ttl     time.Duration
	wait    time.Duration
	extend  []string
	command []string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var opt options
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: run [flags] -pool name -- command args")
		flags.PrintDefaults()
	}
	flags.StringVar(&opt.url, "url", cmp.Or(os.Getenv("REDIS_URL"), "redis://127.0.0.1:6379"), "the server's `URL`")
	flags.StringVar(&opt.prefix, "prefix", "run", "`prefix` of the keys in Redis")
	flags.StringVar(&opt.pool, "pool", "", "`name` of the pool")
	flags.DurationVar(&opt.ttl, "ttl", 10*time.Second, "how `long` the member is kept after run was killed")
	flags.DurationVar(&opt.wait, "wait", 0, "how `long` to wait in line (default: until it is our turn)")
	flags.Func("extend", "`members` to add to the pool first, with commas between them", func(list string) error {
		opt.extend = strings.Split(list, ",")
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return opt, err
	}
	opt.command = flags.Args()
	if opt.pool == "" || len(opt.command) == 0 {
		flags.Usage()
		return opt, errors.New("a pool and a command are needed")
	}
	return opt, nil
}

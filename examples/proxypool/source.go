package main

import (
	"bufio"
	"context"
	"os"
	"strings"

	"github.com/redisallocator/redisallocator/policy"
)

// fromFile names the proxies that are listed in a file: a host:port in each line, and comments after a #. The pool
// reads it again from time to time: to add or to remove a proxy, edit the file.
func fromFile(name string) policy.Source {
	return policy.SourceFunc(func(context.Context) ([]string, error) {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		var proxies []string
		for lines := bufio.NewScanner(file); ; {
			if !lines.Scan() {
				return proxies, lines.Err()
			}
			line, _, _ := strings.Cut(lines.Text(), "#")
			if line = strings.TrimSpace(line); line != "" {
				proxies = append(proxies, line)
			}
		}
	})
}

// fixed names proxies that are known beforehand.
func fixed(proxies ...string) policy.Source {
	return policy.SourceFunc(func(context.Context) ([]string, error) { return proxies, nil })
}

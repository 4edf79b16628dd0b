package redistest

import "syscall"

// LaunchDurable is [Launch] for a server that writes each change to disk before it answers. restart kills it and starts
// it again at the same address, with its data, and returns when it answers.
func LaunchDurable() (url string, restart func() error, stop func(), err error) {
	var o options
	AppendOnly()(&o)
	p, err := launch(o)
	if err != nil {
		return "", nil, nil, err
	}
	restart = func() error {
		if err := p.stop(syscall.SIGKILL); err != nil {
			return err
		}
		return p.start()
	}
	return "redis://" + p.addr, restart, p.close, nil
}

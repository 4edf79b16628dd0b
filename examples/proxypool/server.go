package main

import (
	"io"
	"log"
	"net"
	"net/http"
)

// A localServer is an HTTP server on a free port of this machine.
type localServer struct {
	addr string // host:port
	http http.Server
}

func newLocalServer(h http.Handler) (*localServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &localServer{addr: l.Addr().String()}
	s.http.Handler = h
	s.http.ErrorLog = silence
	go func() { _ = s.http.Serve(l) }() // until kill
	return s, nil
}

// silence is where complaints go: connections are cut on purpose here.
var silence = log.New(io.Discard, "", 0)

// kill ends the server at once, with all its connections.
func (s *localServer) kill() { _ = s.http.Close() }

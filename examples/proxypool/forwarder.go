package main

import (
	"net/http"
	"net/http/httputil"
)

// newForwarder starts a plain HTTP forward proxy, such as one rents by the dozen.
func newForwarder() (*localServer, error) {
	return newLocalServer(&httputil.ReverseProxy{
		Transport: &http.Transport{}, // which asks no proxy in turn
		Rewrite:   func(*httputil.ProxyRequest) {},
		ErrorLog:  silence,
	})
}

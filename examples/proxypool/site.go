package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// newSite starts the site to crawl. It takes some time to serve a page.
func newSite(latency time.Duration) (*localServer, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page/{n}", func(w http.ResponseWriter, r *http.Request) {
		thinking := time.NewTimer(latency/2 + rand.N(latency))
		defer thinking.Stop()
		select {
		case <-thinking.C:
			fmt.Fprintln(w, "this is page", r.PathValue("n"))
		case <-r.Context().Done(): // nobody wants to know any more
		}
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	return newLocalServer(mux)
}

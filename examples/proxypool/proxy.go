package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Proxy is what the pool hands out: an HTTP client that goes through one forward proxy.
//
// Configure makes it fit for a pool. CheckHealth and Close are found because they have the right names: the pool calls
// Close when the lease is released, and its policy calls CheckHealth before the lease is handed out.
type Proxy struct {
	site      string
	transport *http.Transport
}

// Configure learns which proxy this is, from the key, and which site it is for, from the parameters.
func (p *Proxy) Configure(key string, params any) error {
	site, ok := params.(string)
	if !ok {
		return fmt.Errorf("proxy %s: the site is no parameter of the allocation", key)
	}
	p.site = site
	p.transport = &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: key})}
	return nil
}

// CheckHealth asks the site, through the proxy, how it is.
func (p *Proxy) CheckHealth(ctx context.Context) error {
	_, err := p.Get(ctx, "/health")
	return err
}

// Close hangs up.
func (p *Proxy) Close(context.Context) error {
	p.transport.CloseIdleConnections()
	return nil
}

// Get fetches a page of the site; whatever the site answers is a page, unless it is what a proxy says that does not get
// through. It ends with ctx, which should be that of the lease: what is fetched later is fetched through somebody
// else's proxy.
func (p *Proxy) Get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.site+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: p.transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if code := resp.StatusCode; err == nil && (code == http.StatusProxyAuthRequired || code >= 500) {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return string(body), err
}

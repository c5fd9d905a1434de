package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit/reviewer"
	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// latencies are those of many scrapes.
type latencies []time.Duration

// at is a quantile, 0 of none.
func (l latencies) at(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(l))[int(q*float64(len(l)-1))]
}

// newRequest asks as Prometheus does.
func newRequest(url string) (*http.Request, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header = http.Header{
		"Accept":                              {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"},
		"Accept-Encoding":                     {"gzip"},
		"Authorization":                       {"Bearer " + reviewer.Token()},
		"User-Agent":                          {"Prometheus/3.5.0"},
		"X-Prometheus-Scrape-Timeout-Seconds": {"10"},
	}
	return request, nil
}

// get fetches a page and tells how long it took.
func get(client *http.Client, url string) (time.Duration, error) {
	request, err := newRequest(url)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if response.StatusCode != http.StatusOK {
		return took, fmt.Errorf("%s: %s", url, response.Status)
	}
	return took, nil
}

// socketClient scrapes a socket itself, with a connection of its own for each
// scrape as the relay does.
func socketClient(pods *podsocket.Pods, uid podsocket.UID) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return pods.Dial(ctx, uid) },
	}}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// atOnce is how many scrapers there are where it goes as fast as it can.
const atOnce = 16

// latencies are those of many scrapes.
type latencies []time.Duration

// at is a quantile, 0 of none.
func (l latencies) at(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(l))[int(q*float64(len(l)-1))]
}

// get fetches a page as Prometheus does, and tells how long it took.
func get(client *http.Client, url string) (time.Duration, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	request.Header.Set("Accept-Encoding", "gzip")
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "10")
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

func (p *process) scrape(uid podsocket.UID) (time.Duration, error) {
	return get(p.client, p.url+"/pods/"+string(uid)+"/metrics")
}

// calmSeen is what a node with 250 VMs costs.
type calmSeen struct {
	took                  latencies
	failed                int
	cpuPerScrape          time.Duration
	core                  float64
	resident              int64
	leastFiles, mostFiles int
}

// steady scrapes each pod once an interval, spread over it as Prometheus does.
func (p *process) steady(ctx context.Context, c *crowd, length time.Duration) (seen calmSeen, err error) {
	before, err := p.cpu()
	if err != nil {
		return seen, err
	}
	ticker := time.NewTicker(interval / time.Duration(len(c.uids)))
	defer ticker.Stop()
	began := time.Now()
	for i := 0; time.Since(began) < length; i++ {
		select {
		case <-ctx.Done():
			return seen, ctx.Err()
		case <-ticker.C:
		}
		took, err := p.scrape(c.uids[i%len(c.uids)])
		if err != nil {
			seen.failed++
			continue
		}
		seen.took = append(seen.took, took)
		if err := p.look(&seen); err != nil {
			return seen, err
		}
	}
	after, err := p.cpu()
	seen.core = (after - before).Seconds() / time.Since(began).Seconds()
	seen.cpuPerScrape = (after - before) / time.Duration(max(1, len(seen.took)))
	return seen, err
}

// look notes memory and descriptors.
func (p *process) look(seen *calmSeen) error {
	resident, err := p.resident()
	if err != nil {
		return err
	}
	files, err := p.files()
	if err != nil {
		return err
	}
	if seen.leastFiles == 0 {
		seen.leastFiles = files
	}
	seen.resident = max(seen.resident, resident)
	seen.leastFiles, seen.mostFiles = min(seen.leastFiles, files), max(seen.mostFiles, files)
	return nil
}

// fastSeen is what scrapes cost that follow each other at once.
type fastSeen struct {
	relay, direct           latencies
	cpuPerScrape            time.Duration
	perSecond               float64
	resident                int64
	filesBefore, filesAfter int
}

// fast lets the relay and the sockets themselves take turns, so that whatever else
// the machine does meets both; then many scrape through the relay at once.
func (p *process) fast(ctx context.Context, c *crowd, rounds int) (seen fastSeen, err error) {
	pods := podsocket.New(c.dir)
	var cpu time.Duration
	for range rounds {
		if err := ctx.Err(); err != nil {
			return seen, err
		}
		direct, err := each(c.uids, func(uid podsocket.UID) (time.Duration, error) { return scrapeSocket(pods, uid) })
		if err != nil {
			return seen, err
		}
		before, err := p.cpu()
		if err != nil {
			return seen, err
		}
		relay, err := each(c.uids, p.scrape)
		if err != nil {
			return seen, err
		}
		after, err := p.cpu()
		if err != nil {
			return seen, err
		}
		cpu += after - before
		seen.direct, seen.relay = append(seen.direct, direct...), append(seen.relay, relay...)
	}
	seen.cpuPerScrape = cpu / time.Duration(len(seen.relay))
	return seen, p.together(&seen, c, rounds)
}

// together scrapes by many at once, twice: descriptors must not grow.
func (p *process) together(seen *fastSeen, c *crowd, rounds int) (err error) {
	for _, files := range []*int{&seen.filesBefore, &seen.filesAfter} {
		began := time.Now()
		var all sync.WaitGroup
		failures := make([]error, atOnce)
		for i := range atOnce {
			// Each begins with other pods: together at one they would meet its bound.
			from := i * len(c.uids) / atOnce
			uids := slices.Concat(c.uids[from:], c.uids[:from])
			all.Go(func() {
				for range max(1, rounds/atOnce) {
					if _, failures[i] = each(uids, p.scrape); failures[i] != nil {
						return
					}
				}
			})
		}
		all.Wait()
		if err := errors.Join(failures...); err != nil {
			return err
		}
		seen.perSecond = float64(atOnce*max(1, rounds/atOnce)*len(c.uids)) / time.Since(began).Seconds()
		if *files, err = p.files(); err != nil {
			return err
		}
	}
	seen.resident, err = p.resident()
	return err
}

func each(uids []podsocket.UID, scrape func(podsocket.UID) (time.Duration, error)) (latencies, error) {
	took := make(latencies, 0, len(uids))
	for _, uid := range uids {
		t, err := scrape(uid)
		if err != nil {
			return nil, err
		}
		took = append(took, t)
	}
	return took, nil
}

// scrapeSocket fetches a page over the socket itself, with a connection of its own
// as the relay does.
func scrapeSocket(pods *podsocket.Pods, uid podsocket.UID) (time.Duration, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return pods.Dial(ctx, uid) },
	}}
	return get(client, "http://localhost/metrics")
}

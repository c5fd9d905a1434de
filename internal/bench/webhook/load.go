package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
)

// figures are what one way of answering achieves.
type figures struct {
	p50, p99 time.Duration
	rate     float64
}

// measure takes turns between the two, so that both meet the same noise of the
// machine, and gives the medians over all rounds.
func measure(ctx context.Context, p plan, ours, theirs string, pair keyPair, review *template, atOnce int) (figures, figures, error) {
	var results [2][]figures
	for round := range p.rounds + 1 {
		for i, url := range []string{ours, theirs} {
			f, err := load(ctx, url, pair, review.next, atOnce, p.perRound)
			if err != nil {
				return figures{}, figures{}, err
			}
			if round > 0 { // the first warms up
				results[i] = append(results[i], f)
			}
		}
	}
	return median(results[0]), median(results[1]), nil
}

func median(all []figures) figures {
	middle := func(key func(figures) float64) float64 {
		values := make([]float64, len(all))
		for i, f := range all {
			values[i] = key(f)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return figures{
		p50:  time.Duration(middle(func(f figures) float64 { return float64(f.p50) })),
		p99:  time.Duration(middle(func(f figures) float64 { return float64(f.p99) })),
		rate: middle(func(f figures) float64 { return f.rate }),
	}
}

// load posts count reviews, over that many kept-alive connections.
func load(ctx context.Context, url string, pair keyPair, review func() []byte, atOnce, count int) (figures, error) {
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pair.roots, ServerName: pair.name, MinVersion: tls.VersionTLS13},
		MaxIdleConnsPerHost: atOnce,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	took := make([]time.Duration, count)
	failures := make([]error, atOnce)
	var next atomic.Int64
	var running sync.WaitGroup
	start := time.Now()
	for worker := range atOnce {
		running.Go(func() {
			for failures[worker] == nil {
				i := next.Add(1) - 1
				if i >= int64(count) {
					return
				}
				took[i], failures[worker] = post(ctx, client, url, review())
			}
		})
	}
	running.Wait()
	elapsed := time.Since(start)
	if err := errors.Join(failures...); err != nil {
		return figures{}, err
	}
	slices.Sort(took)
	return figures{p50: took[count/2], p99: took[count*99/100], rate: float64(count) / elapsed.Seconds()}, nil
}

// post is one admission; an answer that does not allow is an error.
func post(ctx context.Context, client *http.Client, url string, body []byte) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	start := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(response.Body)
	took := time.Since(start)
	_ = response.Body.Close()
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", response.Status, answer)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return 0, err
	}
	if review.Response == nil || !review.Response.Allowed {
		return 0, fmt.Errorf("not allowed: %.200s", answer)
	}
	return took, nil
}

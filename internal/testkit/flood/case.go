package flood

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
)

// A Case is one flood against one port of a program in its container's limits.
type Case struct {
	// Name says what happens to what.
	Name        string
	start       func(*World, *program) error
	port        string
	attack      attack
	connections int
	// ahead is how long the flood goes on before the honest clients ask.
	ahead time.Duration
}

// Cases returns all floods.
func Cases() ([]Case, error) {
	hello, err := hello()
	if err != nil {
		return nil, err
	}
	const head = "GET /healthz HTTP/1.1\r\nHost: program\r\n"
	noBody := either(sends(head+"Content-Length: 1\r\n\r\n"), sends(head+"Transfer-Encoding: chunked\r\n\r\n"))
	slowPost := sends("POST /mutate HTTP/1.1\r\nHost: program\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
	bogus := sends("GET /pods/00000000-0000-4000-8000-000000000000/metrics HTTP/1.1\r\nHost: program\r\nAuthorization: Bearer bogus-%d\r\n\r\n")
	scrapes := sends("GET /metrics HTTP/1.1\r\nHost: program\r\n\r\nGET /metrics HTTP/1.1\r\nHost: program\r\n\r\n")
	return []Case{
		{Name: "webhook: idle connections", start: startWebhook, port: "admission", attack: encrypted(silent), connections: 1251},
		{Name: "webhook: handshakes", start: startWebhook, port: "admission", attack: hello, connections: 600},
		{Name: "webhook: bodies that do not come", start: startWebhook, port: "admission", attack: encrypted(slowPost), connections: 650},
		{Name: "webhook: reviews that are costly to decode", start: startWebhook, port: "admission", attack: encrypted(costlyReviews()), connections: 64},
		{Name: "webhook: reviews of ever new VMs", start: startWebhook, port: "admission", attack: encrypted(everNewVMs), connections: 64, ahead: 10 * time.Second},
		{Name: "webhook: headers of many lines", start: startWebhook, port: "admission", attack: encrypted(asksFirst(sends(manyLines(5 << 10)))), connections: 400},
		{Name: "webhook, metrics: bodies that do not come", start: startWebhook, port: "metrics", attack: noBody, connections: 935},
		{Name: "webhook, probes: silent connections", start: startWebhook, port: "probes", attack: silent, connections: 935},
		{Name: "certs, metrics: bodies that do not come", start: startCerts, port: "metrics", attack: noBody, connections: 935},
		{Name: "relay: bodies that do not come", start: startRelay, port: "metrics", attack: encrypted(noBody), connections: 935},
		{Name: "relay: handshakes", start: startRelay, port: "metrics", attack: hello, connections: 600},
		{Name: "relay: idle connections", start: startRelay, port: "metrics", attack: encrypted(asksFirst(silent)), connections: 935},
		{Name: "relay: headers of many lines", start: startRelay, port: "metrics", attack: encrypted(asksFirst(sends(manyLines(12 << 10)))), connections: 400},
		{Name: "relay: unknown tokens, slowly reviewed", start: startRelay, port: "metrics", attack: encrypted(bogus), connections: 935},
		{Name: "sidecar, unix: bodies that do not come", start: startSidecarUnix, port: "metrics", attack: noBody, connections: 650},
		{Name: "sidecar, direct: bodies that do not come", start: startSidecarDirect, port: "metrics", attack: noBody, connections: 650},
		{Name: "sidecar, direct: headers of many lines", start: startSidecarDirect, port: "metrics", attack: asksFirst(sends(manyLines(5 << 10))), connections: 200},
		{Name: "sidecar, direct: scrapes", start: startSidecarDirect, port: "metrics", attack: scrapes, connections: 200},
	}, nil
}

// A Result is what a flood came to.
type Result struct {
	memlimit.Use
	// Limit is the container's memory limit, Anonymous the most memory that was seen
	// without page cache; in bytes.
	Limit, Anonymous float64
	// Connections is how many the attackers made.
	Connections int64
	// Ended says that the program ended, and how its log ended.
	Ended string
	Works []WorkResult
}

// A WorkResult is how an honest client fared.
type WorkResult struct {
	Name        string
	Asked, Lost int
	// Last is the last error, or nil.
	Last error
}

// Err is nil if the program lives and no honest client lost more than one request in
// ten.
func (r Result) Err() error {
	var errs []error
	if r.Kills > 0 {
		errs = append(errs, fmt.Errorf("killed %.0f times for lack of memory", r.Kills))
	}
	if r.Ended != "" {
		errs = append(errs, errors.New(r.Ended))
	}
	for _, w := range r.Works {
		if w.Lost*10 > w.Asked {
			errs = append(errs, fmt.Errorf("%s: %d of %d lost: %w", w.Name, w.Lost, w.Asked, w.Last))
		}
	}
	return errors.Join(errs...)
}

// The honest clients ask so often, with such a pause between, once the flood has begun.
const (
	asks  = 10
	pause = 100 * time.Millisecond
)

// Run starts the program, floods it until each honest client has asked for all that it
// asks for, and stops the program.
func (w *World) Run(ctx context.Context, c Case) (result Result, err error) {
	p := &program{}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := c.start(w, p); err != nil {
		return result, fmt.Errorf("start: %w", err)
	}
	if err := p.ready(ctx); err != nil {
		return result, fmt.Errorf("wait for the program: %w", err)
	}
	result.Limit = float64(p.limits.Memory)
	flooding, stop := context.WithCancel(ctx)
	defer stop()
	var attackers sync.WaitGroup
	attackers.Go(func() { result.Connections = flood(flooding, p.ports[c.port], c.attack, c.connections) })
	attackers.Go(func() { result.Anonymous = p.watch(flooding) })
	select {
	case <-ctx.Done():
	case <-time.After(c.ahead):
	}
	result.Works = p.askAll(ctx)
	stop()
	attackers.Wait()
	select {
	case <-p.process.Ended():
		result.Ended = "the program has ended: " + p.process.LogTail()
	default:
	}
	result.Use, err = p.group.Use()
	return result, err
}

// askAll lets all honest clients work at once.
func (p *program) askAll(ctx context.Context) []WorkResult {
	results := make([]WorkResult, len(p.works))
	var all sync.WaitGroup
	for i, n := range p.works {
		all.Go(func() {
			lost, last := n.work.steadily(ctx, asks, pause)
			results[i] = WorkResult{Name: n.name, Asked: asks, Lost: lost, Last: last}
		})
	}
	all.Wait()
	return results
}

// watch returns the most anonymous memory that it sees until ctx ends.
func (p *program) watch(ctx context.Context) (most float64) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if now, err := p.group.Anonymous(); err == nil {
			most = max(most, now)
		}
		select {
		case <-ctx.Done():
			return most
		case <-ticker.C:
		}
	}
}

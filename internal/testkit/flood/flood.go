// Package flood attacks the product's programs as anyone on the pod network can, while
// honest clients work beside. The programs are the real binaries, in cgroups with the
// memory limits and Go variables that the manifests give their containers.
package flood

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
)

// A Case is one flood against one port of a program in its container's limits.
type Case struct {
	// Name is what happens to which port.
	Name        string
	start       func(*Runner, *program) error
	port        string
	attack      attack
	connections int
}

// Cases returns all floods.
func Cases() ([]Case, error) {
	hello, err := hello()
	costly, err2 := costlyReviews()
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	const head = "GET /healthz HTTP/1.1\r\nHost: program\r\n"
	noBody := either(sends(head+"Content-Length: 1\r\n\r\n"), sends(head+"Transfer-Encoding: chunked\r\n\r\n"))
	slowPost := sends("POST /mutate HTTP/1.1\r\nHost: program\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
	scrapes := sends("GET /metrics HTTP/1.1\r\nHost: program\r\n\r\nGET /metrics HTTP/1.1\r\nHost: program\r\n\r\n")
	return []Case{
		{"webhook: idle connections", startWebhook, "admission", encrypted(sends("")), 1251},
		{"webhook: handshakes", startWebhook, "admission", hello, 600},
		{"webhook: bodies that do not come", startWebhook, "admission", encrypted(slowPost), 650},
		{"webhook: reviews that are costly to decode", startWebhook, "admission", encrypted(costly), 64},
		{"webhook: reviews of ever new VMs", startWebhook, "admission", encrypted(everNewVMs()), 64},
		{"webhook: headers of many lines", startWebhook, "admission", encrypted(asksFirst(sends(manyLines(5 << 10)))), 400},
		{"webhook, metrics: bodies that do not come", startWebhook, "metrics", noBody, 935},
		{"webhook, probes: silent connections", startWebhook, "probes", sends(""), 935},
		{"certs, metrics: bodies that do not come", startCerts, "metrics", noBody, 935},
		{"relay: bodies that do not come", startRelay, "metrics", encrypted(noBody), 935},
		{"relay: handshakes", startRelay, "metrics", hello, 600},
		{"relay: idle connections", startRelay, "metrics", encrypted(asksFirst(sends(""))), 935},
		{"relay: headers of many lines", startRelay, "metrics", encrypted(asksFirst(sends(manyLines(12 << 10)))), 400},
		{"relay: unknown tokens, slowly reviewed", startRelay, "metrics", encrypted(bogusToken), 935},
		{"sidecar, unix: bodies that do not come", startSidecarUnix, "metrics", noBody, 650},
		{"sidecar, direct: bodies that do not come", startSidecarDirect, "metrics", noBody, 650},
		{"sidecar, direct: headers of many lines", startSidecarDirect, "metrics", asksFirst(sends(manyLines(5 << 10))), 200},
		{"sidecar, direct: scrapes", startSidecarDirect, "metrics", scrapes, 200},
	}, nil
}

// A Result is what a flood did.
type Result struct {
	memlimit.Use
	// Limit is the container's memory limit, Anonymous the most memory that was seen
	// without page cache; in bytes.
	Limit, Anonymous float64
	// Connections is how many the attackers made.
	Connections int64
	// Ended is the end of the program's log if the program has ended.
	Ended string
	Works []WorkResult
}

// A WorkResult counts the requests of an honest client.
type WorkResult struct {
	Name string
	// Asked counts the requests but for the Late ones, which were sent again: those to which a time limit, the program's
	// or the client's, put an end. Lost counts those that the program refused or cut off at once.
	Asked, Lost, Late int
	// Last is the last error, or nil.
	Last error
}

// Err returns nil if the program lives and no honest client lost more than one request in
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

// A Runner has the binaries and what they need. It runs one flood after the other.
type Runner struct{ root, folder, binaries string }

// NewRunner builds the programs as the images have them, unless binaries is a folder with
// sidecar, webhook and relay. It must be closed.
func NewRunner(ctx context.Context, binaries string) (*Runner, error) {
	root, err := testkit.ModuleRoot(ctx)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "flood-")
	if err != nil {
		return nil, err
	}
	r := &Runner{root: root, folder: folder, binaries: binaries}
	if binaries == "" {
		r.binaries = folder
		err = testkit.Build(ctx, folder, "./sidecar", "./webhook", "./relay")
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close removes the runner's folder.
func (r *Runner) Close() error { return os.RemoveAll(r.folder) }

// Run starts the program, floods it until each honest client has sent its requests, and stops the program.
func (r *Runner) Run(ctx context.Context, c Case) (result Result, err error) {
	p := &program{}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := c.start(r, p); err != nil {
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
	result.Works = make([]WorkResult, len(p.clients))
	var clients sync.WaitGroup
	for i, client := range p.clients {
		clients.Go(func() { result.Works[i] = client.work(ctx) })
	}
	clients.Wait()
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

// watch returns the most anonymous memory that it sees until ctx ends.
func (p *program) watch(ctx context.Context) (most float64) {
	for {
		if now, err := p.group.Anonymous(); err == nil {
			most = max(most, now)
		}
		select {
		case <-ctx.Done():
			return most
		case <-time.After(20 * time.Millisecond):
		}
	}
}

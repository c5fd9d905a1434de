package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// showCommand prints the sidecar's page from its own listener.
func showCommand() []string { return []string{"/sidecar", "show"} }

// Exec runs a command in the sidecar that prints its page. It works for the owner of a namespace, with any network of the
// VM, and runs a process beside the sidecar for a few milliseconds.
type Exec struct {
	config *rest.Config
	// allowed returns an error unless the user may run commands in a namespace's pods.
	allowed func(ctx context.Context, namespace string) error
	// slots bound how many commands run at once: each costs the API server and a kubelet two connections.
	slots chan struct{}

	mu     sync.Mutex
	denied map[string]error // by namespace; nil if allowed
}

// NewExec returns the source; the configuration is the user's. Allowed returns a cluster.AccessError if the user may not run
// commands in a namespace's pods.
func NewExec(config *rest.Config, allowed func(ctx context.Context, namespace string) error) *Exec {
	const atOnce = 4
	streaming := rest.CopyConfig(config)
	streaming.Timeout = 0 // each command has its own
	return &Exec{config: streaming, allowed: allowed, slots: make(chan struct{}, atOnce), denied: map[string]error{}}
}

// Name implements Source.
func (e *Exec) Name() string { return "exec" }

// Close implements Source.
func (e *Exec) Close() {}

// Find implements Source.
func (e *Exec) Find(ctx context.Context, target Target) (Finding, error) {
	select {
	case e.slots <- struct{}{}: // the page's deadline does not run while it waits
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return Finding{}, &UnaskedError{ctx.Err()}
	}
	return findOnPage(ctx, target, e.page)
}

func (e *Exec) page(ctx context.Context, launcher vm.Launcher) ([]byte, error) {
	if err := e.check(ctx, launcher.Namespace); err != nil {
		return nil, err
	}
	executor, err := e.executor(launcher.Namespace, launcher.Name)
	if err != nil {
		return nil, err
	}
	stdout, stderr := &bounded{}, &bounded{}
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr}); err != nil {
		words, _, _ := strings.Cut(strings.TrimSpace(stderr.buffer.String()), "\n")
		return nil, fmt.Errorf("run %s in the sidecar of pod %s: %w: %s", strings.Join(showCommand(), " "), launcher.Name, err, printable(words))
	}
	if stdout.full {
		return nil, errTooMuch
	}
	return stdout.buffer.Bytes(), nil
}

// check asks the API server once per namespace whether the user may run commands there, so that 2,000 pods do not cost 2,000
// refused requests.
func (e *Exec) check(ctx context.Context, namespace string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err, known := e.denied[namespace]
	if known {
		return err
	}
	if failure := e.allowed(ctx, namespace); failure != nil {
		err = &UnaskedError{failure}
		if !cluster.IsDenied(failure) {
			return err // asked again for the next pod
		}
	}
	e.denied[namespace] = err
	return err
}

// executor uses WebSockets, or SPDY if the API server or a proxy does not support them, as kubectl does.
func (e *Exec) executor(namespace, pod string) (remotecommand.Executor, error) {
	target, err := podURL(e.config, namespace, pod, "exec")
	if err != nil {
		return nil, err
	}
	query := target.Query()
	query.Set("container", inject.ContainerName)
	query.Set("stdout", "true")
	query.Set("stderr", "true")
	query["command"] = showCommand()
	target.RawQuery = query.Encode()
	sockets, err := remotecommand.NewWebSocketExecutor(e.config, http.MethodGet, target.String())
	if err != nil {
		return nil, fmt.Errorf("create a client for exec: %w", err)
	}
	older, err := remotecommand.NewSPDYExecutor(e.config, http.MethodPost, target)
	if err != nil {
		return nil, fmt.Errorf("create a client for exec: %w", err)
	}
	return remotecommand.NewFallbackExecutor(sockets, older, olderServer)
}

// bounded keeps what a command prints, up to the largest page. The buffer is not embedded: io.Copy would use its
// ReadFrom, which has no bound.
type bounded struct {
	buffer bytes.Buffer
	// full: something was left out; remotecommand does not return an error of Write.
	full bool
}

var errTooMuch = errors.New("the sidecar prints more than a page of metrics")

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.buffer.Len()+len(p) > largestPage {
		b.full = true
		return 0, errTooMuch
	}
	return b.buffer.Write(p)
}

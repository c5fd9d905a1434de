package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// showCommand prints the sidecar's page from its own listener.
func showCommand() []string { return []string{"/sidecar", "show"} }

// Exec runs a command in the sidecar that prints its page. It works for the owner of a namespace, with any network of the
// VM, and runs a process beside the sidecar for a few milliseconds.
type Exec struct {
	config  *rest.Config
	cluster *cluster.Cluster
	// allowed returns an error unless the user may run commands in a namespace's pods. The API server is asked once per
	// namespace, so that 2,000 pods do not cost 2,000 refused requests.
	allowed func(ctx context.Context, namespace string) error
	// slots bound how many commands run at once: each costs the API server and a kubelet two connections.
	slots chan struct{}
}

// NewExec returns the source; configuration and cluster are the user's.
func NewExec(config *rest.Config, c *cluster.Cluster) *Exec {
	const atOnce = 4
	streaming := rest.CopyConfig(config)
	streaming.Timeout = 0 // each command has its own
	return &Exec{
		config: streaming, cluster: c, slots: make(chan struct{}, atOnce),
		allowed: cluster.Once(func(ctx context.Context, namespace string) error { return c.MayCreate(ctx, "exec", namespace) }),
	}
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
	if err := e.allowed(ctx, launcher.Namespace); err != nil {
		return nil, &UnaskedError{err}
	}
	executor, err := e.executor(launcher.Namespace, launcher.Name)
	if err != nil {
		return nil, fmt.Errorf("create a client for exec: %w", err)
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

// executor uses WebSockets, or SPDY if the API server or a proxy does not support them, as kubectl does.
func (e *Exec) executor(namespace, pod string) (remotecommand.Executor, error) {
	target := e.cluster.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: inject.ContainerName, Command: showCommand(), Stdout: true, Stderr: true,
		}, scheme.ParameterCodec).URL()
	sockets, err := remotecommand.NewWebSocketExecutor(e.config, http.MethodGet, target.String())
	if err != nil {
		return nil, err
	}
	older, err := remotecommand.NewSPDYExecutor(e.config, http.MethodPost, target)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(sockets, older, olderServer)
}

// olderServer reports whether an upgrade failed in a way that the older protocol may not. A missing right is one: WebSockets
// begin with a GET, for which the API server requires the verb get in addition to create; SPDY begins with a POST, for
// which create is enough (measured with Kubernetes 1.36).
func olderServer(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) ||
		apierrors.IsForbidden(err) || strings.Contains(err.Error(), "is forbidden: ")
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

package clustertest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// serverName is what the API server verifies of a webhook that is named by Service.
const serverName = serviceName + "." + productNamespace + ".svc"

// ca signs certificates for the webhook's Service.
type ca struct{ *pki.Pair }

func newCA(t testing.TB) ca {
	t.Helper()
	pair, err := pki.NewCA(serverName, time.Now(), 48*time.Hour)
	require.NoError(t, err)
	return ca{pair}
}

// issue returns a certificate for a day from then on, and its key.
func (c ca) issue(t testing.TB, begin time.Time) *pki.Pair {
	t.Helper()
	leaf, err := pki.IssueLeaf(c.Pair, serverName, begin, 24*time.Hour)
	require.NoError(t, err)
	return leaf
}

// serveReplicas installs the webhook with a certificate that is not renewed, and so many replicas.
// It returns once pods are injected, and the folder with the certificate.
func serveReplicas(t *testing.T, count int) (replicas []*replica, certificates string) {
	t.Helper()
	install(t, ".")
	ours := newCA(t)
	trust(t, ours)
	certificates = t.TempDir()
	leaf := ours.issue(t, time.Now())
	require.NoError(t, testkit.PublishVolume(certificates, map[string][]byte{"tls.crt": leaf.CertPEM, "tls.key": leaf.KeyPEM}))
	return joinReplicas(t, count, certificates), certificates
}

// joinReplicas starts so many replicas with the certificate in the folder, and returns them once pods are injected.
func joinReplicas(t *testing.T, count int, certificates string) (replicas []*replica) {
	t.Helper()
	for range count {
		r := startReplica(t, certificates)
		r.awaitReady(t)
		join(t, r.port)
		replicas = append(replicas, r)
	}
	awaitInjecting(t)
	return replicas
}

// awaitInjecting waits until the API server has seen the webhook, its replicas and its CA.
func awaitInjecting(t *testing.T) {
	t.Helper()
	namespace := server.Namespace(t, "await", labelled())
	eventually(t, func() bool {
		pod, err := server.Create(context.Background(), launcher(t, namespace, "masq"), dryRun())
		return err == nil && injected(pod)
	})
}

// join makes the port of this machine a ready endpoint of the webhook's Service, as the EndpointSlice controller does
// with a pod that is ready. The port has a slice of its own, since here all replicas have one address.
func join(t testing.TB, port int) {
	t.Helper()
	name, number := "https", int32(port)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:   sliceName(port),
			Labels: map[string]string{discoveryv1.LabelServiceName: serviceName},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{apiservertest.MachineAddress(t)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
	}
	_, err := server.Client.DiscoveryV1().EndpointSlices(productNamespace).Create(t.Context(), slice, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { leave(t, port) })
}

// leave takes the port out of the Service, as it happens when a pod is to end.
func leave(t testing.TB, port int) {
	t.Helper()
	err := server.Client.DiscoveryV1().EndpointSlices(productNamespace).
		Delete(context.Background(), sliceName(port), metav1.DeleteOptions{})
	require.NoError(t, ignoreNotFound(err))
}

func sliceName(port int) string { return serviceName + "-" + strconv.Itoa(port) }

// freePort is a port of all addresses that nothing listened on a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

// replica is a process `webhook serve` with the flags of the manifest, but ports of its own.
type replica struct {
	*testkit.Process
	port, metricsPort, probePort int
}

// startReplica starts one that serves with tls.crt and tls.key of the folder.
func startReplica(t *testing.T, certificates string) *replica {
	t.Helper()
	r := &replica{port: freePort(t), metricsPort: freePort(t), probePort: freePort(t)}
	arguments := append(argumentsOf(t, "hypervisor-exporter-webhook"),
		"--sidecar-image="+injectedImage, // the manifests' is not set
		fmt.Sprintf("--secure-port=%d", r.port),
		"--tls-cert-file="+filepath.Join(certificates, "tls.crt"),
		"--tls-private-key-file="+filepath.Join(certificates, "tls.key"),
		fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", r.metricsPort),
		fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", r.probePort),
	)
	r.Process = start(t, exec.Command(program(t, "webhook"), arguments...))
	return r
}

// awaitReady waits as the kubelet does, by its probe.
func (r *replica) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, func() bool {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", r.probePort))
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// start runs a command until the end of the test. Where that fails, it shows what the command said last.
func start(t *testing.T, command *exec.Cmd) *testkit.Process {
	t.Helper()
	process, err := testkit.Start(filepath.Join(t.TempDir(), "log"), command)
	require.NoError(t, err)
	t.Cleanup(func() {
		process.Kill()
		if t.Failed() {
			t.Logf("%s:\n%s", command, process.LogTail())
		}
	})
	return process
}

// argumentsOf are the arguments that the manifests give the first container of a Deployment.
func argumentsOf(t *testing.T, deployment string) []string {
	t.Helper()
	return decode[corev1.Pod](t, podOf(t, find(t, render(t, "."), "Deployment", deployment))).Spec.Containers[0].Args
}

// mountSecret keeps the data of a Secret in a folder until the end of the test, as the kubelet does.
func mountSecret(t *testing.T, name string) string {
	t.Helper()
	volume := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := server.Client.CoreV1().Secrets(productNamespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(t, err)
	var following sync.WaitGroup
	following.Go(func() {
		for event := range watch.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok {
				if err := testkit.PublishVolume(volume, secret.Data); err != nil {
					t.Errorf("mount %s: %v", name, err)
				}
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		watch.Stop()
		following.Wait()
	})
	return volume
}

var failOpen = regexp.MustCompile(`(?m)^apiserver_admission_webhook_fail_open_count\{.*name="inject\.hypervisor-exporter\.kubevirt\.io".*\} (\d+)$`)

// failedOpen is how often the API server has called our webhook in vain and gone on, by its own count.
func failedOpen(ctx context.Context, t testing.TB) int {
	t.Helper()
	metrics, err := server.Client.CoreV1().RESTClient().Get().AbsPath("/metrics").Do(ctx).Raw()
	require.NoError(t, err)
	return sum(t, metrics, failOpen)
}

// sum adds up the series of a page that match.
func sum(t testing.TB, page []byte, series *regexp.Regexp) (total int) {
	t.Helper()
	for _, match := range series.FindAllSubmatch(page, -1) {
		value, err := strconv.Atoi(string(match[1]))
		require.NoError(t, err)
		total += value
	}
	return total
}

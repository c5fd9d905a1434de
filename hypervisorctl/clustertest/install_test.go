package clustertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// image is what install sets.
const image = "registry.example/kubevirt-hypervisor-exporter:v0.1.0"

const serviceDNS = cluster.Webhook + "." + cluster.ExporterNamespace + ".svc"

// install applies the manifests, as `kubectl apply -k manifests` does.
func install(t *testing.T) {
	t.Helper()
	define(t)
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../manifests")
	require.NoError(t, err)
	content, err := resources.AsYaml()
	require.NoError(t, err)
	content = bytes.ReplaceAll(content, []byte("images-not-set.see-docs-install.invalid/"), []byte("registry.example/"))
	objects, err := apiservertest.Objects(bytes.NewReader(content))
	require.NoError(t, err)
	for _, object := range objects {
		require.NoError(t, server.Apply(t.Context(), object))
	}
	rights(t)
	ca, err := pki.NewCA(cluster.RelayServerName, time.Now(), 90*24*time.Hour)
	require.NoError(t, err)
	trusted(t, ca.CertPEM)
	t.Cleanup(func() { uninstall(t) })
}

// uninstall deletes what one test must not leave to the next; the namespaces stay, since no controller would empty them.
func uninstall(t *testing.T) {
	t.Helper()
	ctx := context.Background() // the test's is over in its cleanup
	all := metav1.ListOptions{}
	now := int64(0)
	at := metav1.DeleteOptions{GracePeriodSeconds: &now}
	client := server.Client
	require.NoError(t, client.AdmissionregistrationV1().MutatingWebhookConfigurations().DeleteCollection(ctx, at, all))
	require.NoError(t, client.AppsV1().Deployments(cluster.ExporterNamespace).DeleteCollection(ctx, at, all))
	require.NoError(t, client.AppsV1().DaemonSets(cluster.RelayNamespace).DeleteCollection(ctx, at, all))
	require.NoError(t, client.DiscoveryV1().EndpointSlices(cluster.ExporterNamespace).DeleteCollection(ctx, at, all))
	require.NoError(t, client.CoreV1().Pods(cluster.ExporterNamespace).DeleteCollection(ctx, at, all))
	require.NoError(t, client.CoreV1().Pods(cluster.RelayNamespace).DeleteCollection(ctx, at, all))
}

// awaitNoInjection waits until the API server injects nothing into pods of a namespace that is labelled for sidecars: it applies
// a deleted policy for a second or more, and the next test's pods would get a sidecar.
func awaitNoInjection(t *testing.T, namespace string) {
	t.Helper()
	reader, err := cluster.New(server.Config, 1)
	require.NoError(t, err)
	eventually(t, func() bool {
		pod, err := reader.DryRun(context.Background(), namespace, "", nil) // the test's context is over in its cleanup
		return err == nil && !slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == inject.ContainerName })
	})
}

// serveWebhook starts a webhook, makes it the Service's one address, lets the API server trust its CA,
// and reports for its pod and its Deployment what kubelet and controllers would. It returns once pods are injected.
func serveWebhook(t *testing.T, namespace string) {
	t.Helper()
	config := inject.Default(image)
	ca, err := pki.NewCA(serviceDNS, time.Now(), 90*24*time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(ca, serviceDNS, time.Now(), 30*24*time.Hour)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
	require.NoError(t, err)
	web := serve(t, webhook(config), &tls.Config{Certificates: []tls.Certificate{pair}})
	metrics := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		const name = "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds"
		_, _ = fmt.Fprintf(w, "# TYPE %s gauge\n%s %d\n", name, name, pair.Leaf.NotAfter.Unix())
	}), nil)

	join(t, web)
	trust(t, ca.CertPEM)
	productPod(t, cluster.ExporterNamespace, cluster.Webhook, "webhook", "node-1", corev1.ContainerPort{Name: "metrics", ContainerPort: int32(metrics)})
	patchStatus(t, `{"status":{"replicas":2,"readyReplicas":2,"updatedReplicas":2}}`)
	eventually(t, func() bool {
		got := call(t, administrator(t), "check", "-n", namespace, "-o", "json")
		return bytes.Contains([]byte(got.out), []byte("gets the sidecar (dry run)"))
	})
}

// webhook answers reviews as the product's webhook: with the same decision.
func webhook(config inject.Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		if pod, err := inject.ParsePod(review.Request.Object.Raw); err == nil {
			if decision := inject.Decide(config, pod); decision.Injected() {
				kind := admissionv1.PatchTypeJSONPatch
				review.Response.Patch, _ = json.Marshal(decision.Patch) // operations of our own
				review.Response.PatchType = &kind
			}
		}
		_ = json.NewEncoder(w).Encode(review)
	})
}

// serve listens on all addresses, with TLS where there is a configuration, and returns the port.
func serve(t *testing.T, handler http.Handler, config *tls.Config) int {
	t.Helper()
	listener, err := net.Listen("tcp4", ":0")
	require.NoError(t, err)
	web := httptest.NewUnstartedServer(handler)
	require.NoError(t, web.Listener.Close())
	web.Listener = listener
	if config != nil {
		web.TLS = config
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(web.Close)
	return listener.Addr().(*net.TCPAddr).Port
}

func join(t *testing.T, port int) {
	t.Helper()
	name, number := "https", int32(port)
	_, err := server.Client.DiscoveryV1().EndpointSlices(cluster.ExporterNamespace).Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{GenerateName: "webhook-", Labels: map[string]string{discoveryv1.LabelServiceName: cluster.Webhook}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{apiservertest.MachineAddress(t)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func trust(t *testing.T, ca []byte) {
	t.Helper()
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ca}})
	require.NoError(t, err)
	_, err = server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Patch(t.Context(), cluster.Configuration, types.JSONPatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
}

func patchStatus(t *testing.T, status string) {
	t.Helper()
	_, err := server.Client.AppsV1().Deployments(cluster.ExporterNamespace).
		Patch(t.Context(), cluster.Webhook, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
}

// productPod makes a ready pod of a component of the product on a node.
func productPod(t *testing.T, namespace, account, component, node string, ports ...corev1.ContainerPort) {
	t.Helper()
	runningPod(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account + strings.TrimPrefix(node, "node"), Labels: map[string]string{
			"app.kubernetes.io/name": "kubevirt-hypervisor-exporter", "app.kubernetes.io/component": component,
		}},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, AutomountServiceAccountToken: new(false), NodeName: node,
			Containers: []corev1.Container{restricted(component, ports)},
		},
	})
}

// relayPod makes a ready pod of the node's relay.
func relayPod(t *testing.T, node string) {
	t.Helper()
	productPod(t, cluster.RelayNamespace, cluster.Relay, "relay", node)
}

// runningPod creates a pod, and reports what its kubelet would.
func runningPod(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	pods := server.Client.CoreV1().Pods(pod.Namespace)
	stored, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	address := apiservertest.MachineAddress(t)
	status, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}})
	require.NoError(t, err)
	_, err = pods.Patch(t.Context(), stored.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	require.NoError(t, err)
}

// restricted is a container that the namespace's Pod Security level admits.
func restricted(name string, ports []corev1.ContainerPort) corev1.Container {
	return corev1.Container{Name: name, Image: "none", Ports: ports, SecurityContext: &corev1.SecurityContext{
		RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}}
}

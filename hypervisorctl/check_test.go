package main

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// steady takes out of a check what differs from run to run.
func steady(text, namespace string) string {
	text = strings.ReplaceAll(text, namespace, "shop")
	text = regexp.MustCompile(`until \d{4}-\d\d-\d\d`).ReplaceAllString(text, "until 2027-01-01")
	text = regexp.MustCompile(`v1\.\d+\.\d+\)`).ReplaceAllString(text, "v1.36.3)")
	// Other tests' namespaces.
	return regexp.MustCompile(`\d+ of \d+ namespaces are labelled for sidecars\n +.*`).ReplaceAllString(text, "2 of 12 namespaces are labelled for sidecars\n        shop, store")
}

func TestCheck(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	runsPrometheus(t, map[string]any{})
	namespace := shop(t)
	serveWebhook(t, namespace)
	relayPod(t, "node-1")
	mayDryRun(t, namespace)

	t.Run("with exactly the rights of rbac.yaml", func(t *testing.T) {
		before := pods(t, namespace)
		got := call(t, administrator(t), append([]string{"check", "-n", namespace, "--prometheus-url=" + prometheus(t, namespace)}, reader()...)...)
		require.Equal(t, 2, got.code, got.err)
		golden(t, "check-troubles.txt", steady(got.out, namespace))
		require.Equal(t, before, pods(t, namespace), "a dry run stores nothing")
	})
	t.Run("as JSON", func(t *testing.T) {
		got := call(t, administrator(t), append([]string{"check", "-n", namespace, "-o", "json"}, reader()...)...)
		require.Equal(t, 2, got.code, got.err)
		require.Contains(t, got.out, `"result": "fail"`)
	})
	t.Run("all is well", func(t *testing.T) {
		well := server.Namespace(t, "well", labelled())
		machine{namespace: well, name: "web", fixture: "masq", node: "node-1"}.create(t)
		mayDryRun(t, well)
		got := call(t, administrator(t), append([]string{"check", "-n", well, "--prometheus-url=" + prometheus(t, well)}, reader()...)...)
		require.Zero(t, got.code, got.out+got.err)
		golden(t, "check-well.txt", steady(got.out, well))
		for args, why := range map[string]string{"": "the relay cannot be asked: you may not create pods/portforward", "--source=none": "--source=none"} {
			got = call(t, administrator(t), append(append([]string{"check", "-n", well}, strings.Fields(args)...), reader()...)...)
			require.Equal(t, 1, got.code, "what was not checked is not ok")
			require.Contains(t, got.out, "warn  the sidecar runs beside 1 of 1 VMs; whether they are measured was not checked: "+why)
		}
	})
	// As the VM's owner can, in the VM's template: KubeVirt lets this annotation win.
	t.Run("a VM under another's name", func(t *testing.T) {
		other := server.Namespace(t, "annotated", labelled())
		machine{namespace: other, name: "victim", fixture: "masq", node: "node-1"}.create(t)
		machine{namespace: other, name: "liar", fixture: "masq", node: "node-1", domain: "victim"}.create(t)
		series := []map[string]string{
			{"name": "victim", "pod": "virt-launcher-victim-x", "hypervisor_type": "kvm"},
			{"name": "victim", "pod": "virt-launcher-liar-x", "hypervisor_type": "qemu-tcg"}, // as PodMonitors of earlier releases
		}
		got := call(t, administrator(t), "check", "-n", other, "--prometheus-url="+prometheusOf(t, other, series))
		require.Contains(t, got.out, "ok    1 of 2 VMs are measured (asked: prometheus)")
		require.Regexp(t, `fail  1 VM is not measured although the sidecar runs: prometheus: Prometheus calls the VMI of pod virt-launcher-liar-x victim: .*\n +`+other+`/liar`, got.out)
		got = call(t, administrator(t), "list", "-n", other, "--no-headers", "--prometheus-url="+prometheusOf(t, other, series))
		require.Regexp(t, `(?m)^liar +- .*\nvictim +kvm `, got.out)
		// Of the pod whose annotation is no name, earlier releases had no series; then the VM vanished.
		got = call(t, administrator(t), "check", "-n", other, "--prometheus-url="+prometheusOf(t, other, series[:1]))
		require.Equal(t, 2, got.code)
		require.Regexp(t, `fail  1 VM is not measured although the sidecar runs: prometheus: no series of the VMI: .*\n +`+other+`/liar`, got.out)
	})
	t.Run("no right to a dry run", func(t *testing.T) {
		other := server.Namespace(t, "other", labelled())
		got := call(t, administrator(t), append([]string{"check", "-n", other}, reader()...)...)
		require.Equal(t, 1, got.code, got.out+got.err)
		require.Contains(t, got.out, "not checked: you may not create pods in the namespace "+other)
	})
	t.Run("no rights at all", func(t *testing.T) {
		got := call(t, administrator(t), append([]string{"check", "-n", namespace}, as("nobody", "system:authenticated")...)...)
		require.Equal(t, 1, got.code, got.out+got.err)
		golden(t, "check-no-rights.txt", steady(got.out, namespace))
		require.Equal(t, 1, strings.Count(got.out, "\n  ok "), "the API server answers, and no more is known")
	})
	t.Run("no Prometheus selects the PodMonitor", func(t *testing.T) {
		runsPrometheus(t, map[string]any{"matchLabels": map[string]any{"release": "main"}})
		got := call(t, administrator(t), "check", "-n", namespace)
		require.Contains(t, got.out, "is selected by none of 1 Prometheus")
		runsPrometheus(t, nil)
		got = call(t, administrator(t), "check", "-n", namespace)
		require.Contains(t, got.out, "has no podMonitorSelector")
	})
	t.Run("a series is missing in Prometheus", func(t *testing.T) {
		got := call(t, administrator(t), "check", "-n", namespace, "--prometheus-url="+prometheus(t, "elsewhere"))
		require.Equal(t, 2, got.code)
		require.Contains(t, got.out, "2 VMs are not measured although the sidecar runs: prometheus: no series of the VMI")
		got = call(t, administrator(t), "check", "-n", namespace, "--prometheus-url="+prometheus(t, namespace))
		require.Contains(t, got.out, "2 of 6 VMs are measured (asked: prometheus)")
	})
	t.Run("sidecars that need a relay", func(t *testing.T) {
		unix := server.Namespace(t, "unix", labelled())
		machine{namespace: unix, name: "web", fixture: "masq", node: "node-7", socket: true}.create(t)
		got := call(t, administrator(t), "check", "-n", unix)
		require.Equal(t, 2, got.code)
		require.Regexp(t, `fail  nodes have sidecars that listen on a socket, and no relay: nothing scrapes them\n +node-7`, got.out)
	})
	t.Run("the API server does not trust the webhook", func(t *testing.T) {
		patch := []byte(`[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]`)
		_, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
			Patch(t.Context(), product.Configuration, types.JSONPatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			got := call(t, administrator(t), "check", "-n", namespace)
			return got.code == 2 && strings.Contains(got.out, "fail  caBundle of inject.hypervisor-exporter.kubevirt.io is empty") &&
				strings.Contains(got.out, "does not get the sidecar (dry run)")
		}, patience, patience/100)
	})
}

// If the API server injects by itself, no webhook is missing.
func TestCheckWithTheAdmissionPolicy(t *testing.T) {
	define(t)
	rights(t)
	kubeVirt(t, false)
	namespace := server.Namespace(t, "policy", labelled())
	mayDryRun(t, namespace)
	look := func() answer {
		return call(t, administrator(t), append([]string{"check", "-n", namespace}, reader()...)...)
	}
	objects := append(readObjects(t, "../manifests/overlays/admission-policy/policy.yaml"), readObjects(t, "../manifests/overlays/admission-policy/binding.yaml")...)
	for _, object := range objects {
		t.Cleanup(func() { require.NoError(t, server.Delete(context.Background(), object)) }) // the test's is over then
	}
	require.NoError(t, server.Apply(t.Context(), objects[0]))
	got := look()
	require.Equal(t, 2, got.code, got.out+got.err)
	require.Contains(t, got.out, "fail  MutatingAdmissionPolicy hypervisor-exporter has no binding of its name: no VM gets a sidecar")
	require.Contains(t, got.out, "hint: a new policy works after some seconds")
	require.NoError(t, server.Apply(t.Context(), objects[1]))
	require.Eventually(t, func() bool {
		got = look()
		return strings.Contains(got.out, "gets the sidecar (dry run)")
	}, patience, patience/100)
	require.Contains(t, got.out, "ok    MutatingAdmissionPolicy hypervisor-exporter exists: the API server injects, without a webhook")
	require.NotContains(t, got.out, "replica")

	refuseSmall(t, namespace)
	require.Contains(t, look().out, "fail  LimitRanges refuse VMs with the sidecar; they do not start: min of memory per Container is 32Mi")
}

func pods(t *testing.T, namespace string) int {
	t.Helper()
	list, err := server.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return len(list.Items)
}

func TestCheckWithoutTheProduct(t *testing.T) {
	define(t)
	kubeVirt(t, false)
	namespace := server.Namespace(t, "bare", map[string]string{inject.AnnotationInject: "true"})
	got := call(t, administrator(t), "check", "-n", namespace)
	require.Equal(t, 2, got.code, got.err)
	require.Contains(t, call(t, administrator(t), "check", "-n", "shpo").out, "fail  there is no namespace shpo")
	for _, want := range []string{
		"fail  MutatingWebhookConfiguration hypervisor-exporter does not exist",
		"fail  Deployment hypervisor-exporter-webhook is not in the namespace",
		"fail  the label hypervisor-exporter.kubevirt.io/inject has a value without a meaning",
		namespace + " (true)",
		"warn  the namespace " + namespace + " is not labelled for sidecars",
	} {
		require.Contains(t, got.out, want)
	}
}

package clustertest

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// steady replaces in a check what differs from run to run.
func steady(text, namespace string) string {
	text = strings.ReplaceAll(text, namespace, "shop")
	text = regexp.MustCompile(`until \d{4}-\d\d-\d\d`).ReplaceAllString(text, "until 2027-01-01")
	text = regexp.MustCompile(`v1\.\d+\.\d+\)`).ReplaceAllString(text, "v1.36.3)")
	text = regexp.MustCompile(`since \S+: \d+ \(`).ReplaceAllString(text, "since 2026-11-27T08:00:00Z: 3 (")
	// Other tests' namespaces.
	return regexp.MustCompile(`\d+ of \d+ namespaces are labelled for sidecars\n +.*`).ReplaceAllString(text, "2 of 12 namespaces are labelled for sidecars\n        shop, store")
}

func TestCheck(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	runsPrometheus(t, nil)
	namespace := shop(t)
	serveWebhook(t, namespace)
	relayPod(t, "node-1")
	mayDryRun(t, namespace)

	t.Run("with exactly the rights of rbac.yaml", func(t *testing.T) {
		before := pods(t, namespace)
		got := callAs(t, reader(), "check", "-n", namespace, "--prometheus-url="+startPrometheus(t, namespace, scraped{vms: map[string]string{"web": "kvm", "emulated": "qemu-tcg"}}).url)
		require.Equal(t, 2, got.code, got.err)
		golden(t, "check-troubles.txt", steady(got.out, namespace))
		require.Equal(t, before, pods(t, namespace), "a dry run stores nothing")
	})
	t.Run("as JSON", func(t *testing.T) {
		got := callAs(t, reader(), "check", "-n", namespace, "-o", "json")
		require.Equal(t, 2, got.code, got.err)
		require.Contains(t, got.out, `"result": "fail"`)
	})
	t.Run("all is well", func(t *testing.T) {
		well := server.Namespace(t, "well", labelled())
		testVM{namespace: well, name: "web", fixture: "masq", node: "node-1"}.create(t)
		mayDryRun(t, well)
		got := callAs(t, reader(), "check", "-n", well, "--prometheus-url="+startPrometheus(t, well, scraped{vms: map[string]string{"web": "kvm"}}).url)
		require.Zero(t, got.code, got.out+got.err)
		golden(t, "check-well.txt", steady(got.out, well))
		for args, why := range map[string]string{"": "the relay cannot be used: you may not create pods/portforward", "--source=none": "--source=none"} {
			got = call(t, administrator(t), append(append([]string{"check", "-n", well}, strings.Fields(args)...), reader()...)...)
			require.Equal(t, 1, got.code, "what was not checked is not ok")
			require.Contains(t, got.out, "warn  the sidecar runs in 1 of 1 VMs; not checked whether they are measured: "+why)
		}
	})
	t.Run("no right to a dry run", func(t *testing.T) {
		other := server.Namespace(t, "other", labelled())
		got := callAs(t, reader(), "check", "-n", other)
		require.Equal(t, 1, got.code, got.out+got.err)
		require.Contains(t, got.out, "kubectl auth can-i create pods -n "+other+": injection in the namespace "+other+" (dry run)")
	})
	t.Run("no rights at all", func(t *testing.T) {
		got := callAs(t, as("stranger", "system:authenticated"), "check", "-n", namespace)
		require.Equal(t, 1, got.code, got.out+got.err)
		golden(t, "check-no-rights.txt", steady(got.out, namespace))
		require.Equal(t, 1, strings.Count(got.out, "\n  ok "), "only that the API server answers is known")
	})
	t.Run("sidecars that need a relay", func(t *testing.T) {
		unix := server.Namespace(t, "unix", labelled())
		testVM{namespace: unix, name: "web", fixture: "masq", node: "node-7", socket: true}.create(t)
		got := call(t, administrator(t), "check", "-n", unix)
		require.Equal(t, 2, got.code)
		require.Regexp(t, `fail  these nodes have sidecars and no relay: nothing scrapes them\n +node-7`, got.out)
	})
	t.Run("the API server does not trust the webhook", func(t *testing.T) {
		patch := []byte(`[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]`)
		_, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
			Patch(t.Context(), cluster.Configuration, types.JSONPatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
		eventually(t, func() bool {
			got := call(t, administrator(t), "check", "-n", namespace)
			return got.code == 2 && strings.Contains(got.out, "fail  caBundle of inject.hypervisor-exporter.kubevirt.io is empty") &&
				strings.Contains(got.out, "does not get the sidecar (dry run)")
		})
	})
	t.Run("the webhook has no address", func(t *testing.T) { // last, since it takes it away
		require.NoError(t, server.Client.DiscoveryV1().EndpointSlices(cluster.ExporterNamespace).
			DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
		passed := func() string {
			got := call(t, administrator(t), "check", "-n", namespace)
			require.Equal(t, 2, got.code)
			require.Contains(t, got.out, "warn  the injection was not tried: the webhook has no ready address\n")
			return regexp.MustCompile(`warn  pods that passed without the webhook since \S+: \d+`).FindString(got.out)
		}
		before := passed()
		require.NotEmpty(t, before)
		require.Equal(t, before, passed(), "check itself lets none pass")
	})
}

// With the admission policy, no webhook is missing.
func TestCheckWithTheAdmissionPolicy(t *testing.T) {
	define(t)
	rights(t)
	kubeVirt(t, false)
	namespace := server.Namespace(t, "policy", labelled())
	mayDryRun(t, namespace)
	check := func() answer {
		return callAs(t, reader(), "check", "-n", namespace)
	}
	objects := append(readObjects(t, "../../manifests/components/admission-policy/policy.yaml"), readObjects(t, "../../manifests/components/admission-policy/binding.yaml")...)
	t.Cleanup(func() {
		for _, object := range objects {
			require.NoError(t, server.Delete(context.Background(), object)) // the test's context is over then
		}
		awaitNoInjection(t, namespace)
	})
	require.NoError(t, server.Apply(t.Context(), objects[0]))
	got := check()
	require.Equal(t, 2, got.code, got.out+got.err)
	require.Contains(t, got.out, "fail  MutatingAdmissionPolicy hypervisor-exporter has no binding of its name: no VM gets a sidecar")
	require.Contains(t, got.out, "hint: wait some seconds if the policy is new")
	require.NoError(t, server.Apply(t.Context(), objects[1]))
	eventually(t, func() bool {
		got = check()
		return strings.Contains(got.out, "gets the sidecar (dry run)")
	})
	require.Contains(t, got.out, "ok    MutatingAdmissionPolicy hypervisor-exporter exists: the API server injects, without a webhook")
	require.NotContains(t, got.out, "replica")

	refuseSmall(t, namespace)
	require.Contains(t, check().out, "fail  LimitRanges refuse VMs with the sidecar, so VMs do not start: min of memory per Container is 32Mi")
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
		"fail  these namespaces ask for sidecars in a way that has no effect: only the label hypervisor-exporter.kubevirt.io/inject=enabled has",
		namespace + " (value true)",
		"warn  the namespace " + namespace + " is not labelled for sidecars",
	} {
		require.Contains(t, got.out, want)
	}
}

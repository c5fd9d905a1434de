package clustertest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/internal/testkit/kustomizetest"
)

const elsewhere = `patches:
- target: {kind: Namespace, name: hypervisor-exporter}
  patch: '[{"op": "replace", "path": "/metadata/name", "value": "elsewhere"}]'
- target: {kind: Namespace, name: hypervisor-exporter-relay}
  patch: '[{"op": "replace", "path": "/metadata/name", "value": "elsewhere-relay"}]'
transformers: [MANIFESTS/settings/namespaces]
`

// The namespaces of each variant are found, by default and elsewhere, with an administrator's rights.
func TestInstallationIsFound(t *testing.T) {
	define(t)
	reader, err := cluster.New(server.Config, 100)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		components      []string
		more            string
		exporter, relay string
		variant         string
	}{
		"default":            {nil, "", "hypervisor-exporter", "hypervisor-exporter-relay", "installed: webhook (manifests, namespace hypervisor-exporter), relay (host port, namespace hypervisor-exporter-relay), certificates of its own"},
		"elsewhere":          {nil, elsewhere, "elsewhere", "elsewhere-relay", "installed: webhook (manifests, namespace elsewhere), relay (host port, namespace elsewhere-relay), certificates of its own"},
		"cert-manager":       {[]string{"cert-manager"}, elsewhere, "elsewhere", "elsewhere-relay", "certificates of cert-manager"},
		"host network":       {[]string{"host-network"}, "", "hypervisor-exporter", "hypervisor-exporter-relay", "relay (host network, "},
		"policy":             {[]string{"admission-policy"}, "", "hypervisor-exporter", "hypervisor-exporter-relay", "admission policy, no webhook (manifests, namespace hypervisor-exporter), relay (host port"},
		"policy elsewhere":   {[]string{"admission-policy"}, elsewhere, "elsewhere", "elsewhere-relay", "admission policy, no webhook (manifests, namespace elsewhere), relay (host port, namespace elsewhere-relay)"},
		"direct":             {[]string{"direct"}, "", "hypervisor-exporter", "", "no relay (exposure direct)"},
		"nothing registered": {nil, "nothing", "", "", "fail  MutatingWebhookConfiguration hypervisor-exporter does not exist, nor a policy in its place: no VM gets a sidecar"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.more != "nothing" {
				requireInstalled(t, test.components, test.more)
			}
			at, err := reader.Installation(t.Context())
			require.NoError(t, err)
			require.Equal(t, test.exporter, at.Exporter)
			relay, err := reader.RelayNamespace(t.Context(), at)
			require.NoError(t, err)
			require.Equal(t, test.relay, relay)
			require.Contains(t, call(t, administrator(t), "check").out, test.variant)
		})
	}
}

// requireInstalled creates what shows where the product is installed, until the test ends.
func requireInstalled(t *testing.T, components []string, more string) {
	t.Helper()
	objects, err := kustomizetest.With("../../manifests", components, more)
	require.NoError(t, err)
	kinds := []string{"Namespace", "Deployment", "DaemonSet", "MutatingWebhookConfiguration", "MutatingAdmissionPolicy"}
	for _, object := range objects {
		if !slices.Contains(kinds, object.GetKind()) {
			continue
		}
		setImages(t, object)
		require.NoError(t, server.Apply(t.Context(), object))
		if object.GetKind() != "Namespace" { // no controller would empty it
			t.Cleanup(func() { require.NoError(t, server.Delete(context.Background(), object)) })
		}
	}
}

// setImages gives the object the image that install sets.
func setImages(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	text, err := object.MarshalJSON()
	require.NoError(t, err)
	require.NoError(t, object.UnmarshalJSON([]byte(strings.ReplaceAll(string(text), "images-not-set.see-docs-install.invalid/", "registry.example/"))))
}

package clustertest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// installable are the folders that a user may apply.
var installable = []string{
	".",
	"overlays/admission-policy",
	"overlays/cert-manager",
	"overlays/direct",
	"overlays/host-network",
	"overlays/openshift",
	"overlays/relay-without-authorization",
	"overlays/without-prometheus-operator",
}

func TestEveryOverlayIsTested(t *testing.T) {
	overlays, err := filepath.Glob(filepath.Join(manifests, "overlays", "*"))
	require.NoError(t, err)
	want := []string{"."}
	for _, overlay := range overlays {
		want = append(want, "overlays/"+filepath.Base(overlay))
	}
	require.Equal(t, want, installable)
}

// Strict: an unknown or repeated field is an error, as with `kubectl apply --validate=strict`.
func TestEveryManifestIsAppliedStrictly(t *testing.T) {
	server.Define(t, apiservertest.CertManager, apiservertest.PodMonitors, apiservertest.PrometheusRules)
	for _, folder := range installable {
		t.Run(folder, func(t *testing.T) {
			for _, object := range render(t, folder) {
				require.NoError(t, server.Apply(t.Context(), object))
			}
			t.Cleanup(func() { uninstall(t) })
		})
	}
}

// Pod Security warns about a workload that its namespace would refuse; the client gets it as a warning, so the pods
// are created for real.
func TestNamespaceAdmitsThePods(t *testing.T) {
	for _, folder := range installable {
		t.Run(folder, func(t *testing.T) {
			install(t, folder)
			for _, object := range render(t, folder) {
				if !isWorkload(object) {
					continue
				}
				pod := podOf(t, object)
				if folder == "overlays/openshift" && object.GetKind() == "Deployment" {
					giveOpenShiftUser(t, pod)
				}
				stored, err := server.Create(t.Context(), pod, dryRun())
				require.NoError(t, err)
				priority, _, _ := unstructured.NestedInt64(stored.Object, "spec", "priority")
				if object.GetKind() == "Deployment" {
					require.Positive(t, priority, "evicted last")
				} else {
					require.Zero(t, priority, "no VM makes room for the relay")
				}
			}
		})
	}
}

func TestWhoHasAToken(t *testing.T) {
	for _, folder := range installable {
		var withToken []string
		for _, object := range render(t, folder) {
			if !isWorkload(object) {
				continue
			}
			mounted, found, err := unstructured.NestedBool(object.Object, "spec", "template", "spec", "automountServiceAccountToken")
			require.NoError(t, err)
			require.True(t, found, "%s: the default is to mount it", object.GetName())
			if mounted {
				withToken = append(withToken, object.GetName())
			}
		}
		certs, relay := "hypervisor-exporter-certs", "hypervisor-exporter-relay"
		switch folder {
		case "overlays/cert-manager":
			require.Equal(t, []string{relay}, withToken, folder)
		case "overlays/direct", "overlays/relay-without-authorization":
			require.Equal(t, []string{certs}, withToken, folder)
		default:
			require.Equal(t, []string{certs, relay}, withToken, folder)
		}
	}
}

func TestTheAuthoritysKeyIsMountedNowhere(t *testing.T) {
	for _, folder := range installable {
		for _, object := range render(t, folder) {
			if isWorkload(object) {
				volumes, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "volumes")
				require.NoError(t, err)
				for _, volume := range volumes {
					name, _, _ := unstructured.NestedString(volume.(map[string]any), "secret", "secretName")
					require.NotContains(t, []string{"hypervisor-exporter-webhook-ca", "hypervisor-exporter-relay-ca"}, name)
				}
			}
		}
	}
}

// A GitOps tool would put back what a manifest says and so undo each rotation.
func TestNoManifestHoldsAKeyOrACABundle(t *testing.T) {
	for _, folder := range installable {
		for _, object := range render(t, folder) {
			switch object.GetKind() {
			case "Secret":
				require.NotContains(t, object.Object, "data")
				require.NotContains(t, object.Object, "stringData")
			case "MutatingWebhookConfiguration":
				for _, webhook := range object.Object["webhooks"].([]any) {
					require.NotContains(t, webhook.(map[string]any)["clientConfig"], "caBundle")
				}
			}
		}
	}
}

// isWorkload says whether the object makes pods.
func isWorkload(object *unstructured.Unstructured) bool {
	return object.GetKind() == "Deployment" || object.GetKind() == "DaemonSet"
}

func TestImagesAreSetInOnePlace(t *testing.T) {
	const images = "images/kustomization.yaml"
	err := filepath.WalkDir(manifests, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" || strings.HasSuffix(path, images) {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		require.NotContains(t, string(content), "newName:", path)
		require.NotContains(t, string(content), "newTag:", path)
		return nil
	})
	require.NoError(t, err)

	for _, folder := range installable {
		if folder == policyOverlay {
			continue // TestPolicyInjectsAsTheWebhookDoes has its image
		}
		deployment := find(t, render(t, folder), "Deployment", serviceName)
		spec := podOf(t, deployment).Object["spec"].(map[string]any)
		webhook := spec["containers"].([]any)[0].(map[string]any)
		sidecar := spec["initContainers"].([]any)[0].(map[string]any)
		require.Contains(t, webhook["args"], "--sidecar-image=$(SIDECAR_IMAGE)")
		require.Contains(t, webhook["env"], map[string]any{"name": "SIDECAR_IMAGE", "value": sidecar["image"]},
			"%s: what is injected is what was pulled", folder)
		require.NotEqual(t, "sidecar", sidecar["image"])
		require.NotEqual(t, "webhook", webhook["image"])
	}
}

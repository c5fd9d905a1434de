package clustertest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// unsetImages begins every image of the manifests as they are. The domain .invalid never exists (RFC 6761).
const unsetImages = "images-not-set.see-docs-install.invalid/"

// No one can own what the manifests name before a user sets images, so no one can put an image of theirs beside the VMs.
// None of our pods starts, so no webhook injects such a name.
func TestUnsetImagesCannotBePulled(t *testing.T) {
	for _, folder := range installable {
		for _, object := range render(t, folder) {
			if !isWorkload(object) {
				continue
			}
			spec := podOf(t, object).Object["spec"].(map[string]any)
			images := 0
			for _, list := range []string{"initContainers", "containers"} {
				containers, _, err := unstructured.NestedSlice(spec, list)
				require.NoError(t, err)
				for _, container := range containers {
					image := container.(map[string]any)["image"].(string)
					require.True(t, strings.HasPrefix(image, unsetImages), "%s: %s of %s", folder, image, object.GetName())
					images++
				}
			}
			require.Positive(t, images)
		}
	}
}

// The admission policy works without any pod of ours, so it checks by itself that an image is set.
func TestPolicyWithoutAnImageInjectsNothing(t *testing.T) {
	both := applyPolicy(t)
	policy := find(t, render(t, policyOverlay), "MutatingAdmissionPolicy", configurationName)
	variables, _, err := unstructured.NestedSlice(policy.Object, "spec", "variables")
	require.NoError(t, err)
	require.Contains(t, variables, map[string]any{"name": "image", "expression": "'" + unsetImages + "kubevirt-hypervisor-exporter/sidecar:v0.1.0'"})
	require.NoError(t, server.Apply(t.Context(), policy))
	both.awaitInjection(t, false)
}

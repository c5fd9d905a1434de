package clustertest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// unsetImages begins every image of the manifests as they are. The domain .invalid never exists (RFC 6761).
const unsetImages = "images-not-set.see-docs-install.invalid/"

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

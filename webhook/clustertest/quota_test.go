package clustertest

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// limitedClasses is an admission configuration as GKE's: outside of a namespace with a quota for them, no one may use the
// classes that preempt everything.
const limitedClasses = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ResourceQuota
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ResourceQuotaConfiguration
    limitedResources:
    - resource: pods
      matchScopes:
      - scopeName: PriorityClass
        operator: In
        values: [system-cluster-critical, system-node-critical]
`

// Where the API server limits the critical classes, our pods are created all the same, and a relay that was given one,
// too; without the quotas they would not be.
func TestCriticalClassesWhereTheyAreLimited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admission.yaml")
	writeFile(t, file, limitedClasses)
	limited, err := apiservertest.Start(t.Context(), t.TempDir(), "--admission-control-config-file="+file)
	require.NoError(t, err)
	t.Cleanup(limited.Stop)
	server := limited // not the one that all tests share

	objects := render(t, ".")
	for _, object := range objects {
		if kind := object.GetKind(); kind == "Namespace" || kind == "ServiceAccount" {
			require.NoError(t, server.Apply(t.Context(), object))
		}
	}
	pods := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		if isWorkload(object) {
			pod := podOf(t, object)
			require.NoError(t, unstructured.SetNestedField(pod.Object, "system-node-critical", "spec", "priorityClassName"))
			pods[object.GetName()+", system-node-critical"] = pod
			if object.GetKind() == "Deployment" {
				pods[object.GetName()] = podOf(t, object)
			}
		}
	}
	require.Len(t, pods, 5)
	for name, pod := range pods {
		_, err := server.Create(t.Context(), pod.DeepCopy(), dryRun())
		require.ErrorContains(t, err, "insufficient quota to match these scopes: [{PriorityClass In [system-cluster-critical system-node-critical]}]", name)
	}
	quotas := 0
	for _, object := range objects {
		if object.GetKind() == "ResourceQuota" {
			require.NoError(t, server.Apply(t.Context(), object))
			quotas++
		}
	}
	require.Equal(t, 2, quotas)
	for name, pod := range pods {
		eventually(t, func() bool { // the plugin lists quotas from its cache
			_, err = server.Create(t.Context(), pod.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err == nil
		}, name)
	}
}

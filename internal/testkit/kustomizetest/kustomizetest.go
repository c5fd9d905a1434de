// Package kustomizetest renders the manifests as a user does: from a folder around them, with any components.
package kustomizetest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// Components are the folders of manifests/components, in the order in which a user lists them.
var Components = []string{
	"cert-manager",
	"openshift",
	"cluster-monitoring",
	"host-network",
	"no-authorization",
	"kubelet-root-k0s",
	"kubelet-root-microk8s",
	"priority-class",
	"admission-policy",
	"direct",
	"without-prometheus-operator",
}

// Excluded returns the components that cannot be combined with this one. kustomize refuses them, but for two kubelet roots,
// of which the last wins.
func Excluded(component string) []string {
	var excluded []string
	for _, pair := range [][2]string{
		{"direct", "host-network"},
		{"direct", "no-authorization"},
		{"direct", "admission-policy"},
		{"kubelet-root-k0s", "kubelet-root-microk8s"},
	} {
		switch component {
		case pair[0]:
			excluded = append(excluded, pair[1])
		case pair[1]:
			excluded = append(excluded, pair[0])
		}
	}
	return excluded
}

// Combinations returns every set of components that makes sense, the empty one too, each in the order of Components.
func Combinations() [][]string {
	all := [][]string{nil}
	for _, component := range Components {
		for _, set := range all {
			if !slices.ContainsFunc(Excluded(component), func(other string) bool { return slices.Contains(set, other) }) {
				all = append(all, append(slices.Clone(set), component))
			}
		}
	}
	return all
}

// Around renders a user's folder around the manifests with that kustomization, in which MANIFESTS is the path to them.
func Around(manifests, kustomization string) ([]*unstructured.Unstructured, error) {
	dir, err := os.MkdirTemp("", "kustomization")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	absolute, err := filepath.Abs(manifests)
	if err != nil {
		return nil, err
	}
	to, err := filepath.Rel(dir, absolute)
	if err != nil {
		return nil, err
	}
	text := strings.ReplaceAll(kustomization, "MANIFESTS", to)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	return Render(dir)
}

// With renders a user's folder that lists these components, followed by more lines.
func With(manifests string, components []string, more string) ([]*unstructured.Unstructured, error) {
	text := "resources: [MANIFESTS]\n"
	if len(components) > 0 {
		text += "components: [MANIFESTS/components/" + strings.Join(components, ", MANIFESTS/components/") + "]\n"
	}
	return Around(manifests, text+more)
}

// oneAtATime guards what kustomize keeps for the whole process without a lock that suffices: its OpenAPI schema
// (kubernetes-sigs/kustomize#4824).
var oneAtATime sync.Mutex

// Render returns what `kubectl apply -k` of the folder would send.
func Render(folder string) ([]*unstructured.Unstructured, error) {
	content, err := kustomize(folder)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", folder, err)
	}
	return apiservertest.Objects(bytes.NewReader(content))
}

func kustomize(folder string) ([]byte, error) {
	oneAtATime.Lock()
	defer oneAtATime.Unlock()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	return resources.AsYaml()
}

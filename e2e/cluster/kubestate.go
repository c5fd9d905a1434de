package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"kubevirt-hypervisor-exporter/e2e/images"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

//go:embed manifests/kube-state-metrics.yaml
var kubeStateManifest string

// installKubeState installs kube-state-metrics with the rights of its own example, and has Prometheus scrape it.
func (c *Client) installKubeState(ctx context.Context, set programs.Set) error {
	var text strings.Builder
	for _, name := range []string{"service-account", "cluster-role", "cluster-role-binding"} {
		part, err := os.ReadFile(filepath.Join(set.Module, "examples/standard", name+".yaml"))
		if err != nil {
			return fmt.Errorf("read kube-state-metrics' manifests: %w", err)
		}
		fmt.Fprintf(&text, "\n---\n%s", strings.ReplaceAll(string(part), "namespace: kube-system", "namespace: "+Monitoring))
	}
	fmt.Fprintf(&text, "\n---\n%s", strings.ReplaceAll(kubeStateManifest, "IMAGE", images.Name("kube-state-metrics", set.Version)))
	objects, err := Objects([]byte(text.String()))
	if err != nil {
		return err
	}
	return c.Apply(ctx, objects...)
}

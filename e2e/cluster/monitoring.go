package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/images"
	"kubevirt-hypervisor-exporter/e2e/poll"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

//go:embed manifests/prometheus.yaml
var prometheusManifest string

// Monitoring is the namespace of the Prometheus operator and of Prometheus.
const Monitoring = "monitoring"

// InstallMonitoring installs the Prometheus operator by its own bundle, with only namespace and images changed, has it
// run a Prometheus, and installs kube-state-metrics.
func (c *Client) InstallMonitoring(ctx context.Context, set, prometheus, kubeState programs.Set) error {
	if err := c.Namespace(ctx, Monitoring, nil); err != nil {
		return err
	}
	bundle, err := os.ReadFile(filepath.Join(set.Module, "bundle.yaml"))
	if err != nil {
		return fmt.Errorf("read the Prometheus operator's bundle: %w", err)
	}
	text := regexp.MustCompile(`quay\.io/prometheus-operator/([a-z-]+):v[0-9.]+`).ReplaceAllStringFunc(string(bundle), func(image string) string {
		return images.Name(strings.Split(strings.TrimPrefix(image, "quay.io/prometheus-operator/"), ":")[0], set.Version)
	})
	text = regexp.MustCompile(`(?m)^( *)namespace: default$`).ReplaceAllString(text, "${1}namespace: "+Monitoring)
	objects, err := Objects([]byte(text))
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, objects...); err != nil {
		return err
	}
	// The module v0.316.0 is Prometheus 3.16.0; the operator must know which it writes a configuration for.
	version, err := os.ReadFile(filepath.Join(prometheus.Module, "VERSION"))
	if err != nil {
		return fmt.Errorf("read Prometheus' version: %w", err)
	}
	manifest := strings.NewReplacer(
		"IMAGE(prometheus)", images.Name("prometheus", prometheus.Version),
		"VERSION", "v"+strings.TrimSpace(string(version)),
	).Replace(prometheusManifest)
	if objects, err = Objects([]byte(manifest)); err != nil {
		return err
	}
	if err := poll.Until(ctx, time.Minute, "the Prometheus to be accepted", func(ctx context.Context) error { return c.Apply(ctx, objects...) }); err != nil {
		return err
	}
	return c.installKubeState(ctx, kubeState)
}

// WaitMonitoring waits until Prometheus runs.
func (c *Client) WaitMonitoring(ctx context.Context) error {
	err := poll.Until(ctx, 4*time.Minute, "Prometheus", func(ctx context.Context) error {
		set, err := c.AppsV1().StatefulSets(Monitoring).Get(ctx, "prometheus-e2e", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if set.Status.AvailableReplicas < 1 {
			return errors.New("not available")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Describe(ctx, Monitoring))
	}
	return nil
}

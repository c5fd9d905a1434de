package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
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

// InstallMonitoring installs the Prometheus operator by its own bundle, with only namespace and images changed, and
// has it run a Prometheus.
func (c *Client) InstallMonitoring(ctx context.Context, set programs.Set, debianRoot string) error {
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
	version, err := prometheusVersion(ctx, debianRoot)
	if err != nil {
		return err
	}
	manifest := strings.ReplaceAll(strings.ReplaceAll(prometheusManifest, "IMAGE(prometheus)", images.Name("prometheus", images.Suite)), "VERSION", version)
	if objects, err = Objects([]byte(manifest)); err != nil {
		return err
	}
	return poll.Until(ctx, time.Minute, "the Prometheus to be accepted", func(ctx context.Context) error { return c.Apply(ctx, objects...) })
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

// prometheusVersion is that of Debian's package, which the operator must know to write a configuration for it.
func prometheusVersion(ctx context.Context, debianRoot string) (string, error) {
	output, err := exec.CommandContext(ctx, "dpkg-query", "--admindir="+filepath.Join(debianRoot, "var/lib/dpkg"), "-Wf", "${Version}", "prometheus").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the version of Debian's Prometheus: %w", err)
	}
	version, _, _ := strings.Cut(string(output), "+")
	return "v" + version, nil
}

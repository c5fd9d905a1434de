package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubevirt-hypervisor-exporter/e2e/images"
	"kubevirt-hypervisor-exporter/e2e/node"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

// KubeVirtKind is the kind of KubeVirt's own configuration.
var KubeVirtKind = schema.GroupVersionKind{Group: "kubevirt.io", Version: "v1", Kind: "KubeVirt"}

// Monitoring is the namespace of the Prometheus operator, of Prometheus and of kube-state-metrics.
const Monitoring = "monitoring"

var (
	//go:embed manifests/virt-operator.yaml
	virtOperator string
	//go:embed manifests/prometheus.yaml
	prometheusManifest string
	//go:embed manifests/kube-state-metrics.yaml
	kubeStateManifest string
)

// InstallKubeVirt has KubeVirt's operator install KubeVirt, and waits until it has.
func (c *Client) InstallKubeVirt(ctx context.Context, set programs.Set) error {
	if err := c.Namespace(ctx, "kubevirt", nil); err != nil {
		return err
	}
	text, err := read(set, "manifests/generated/", "kv-resource.yaml", "kubevirt-priority-class.yaml", "rbac-operator.authorization.k8s.yaml.in")
	if err != nil {
		return err
	}
	ours := regexp.MustCompile(`IMAGE\((.+?)\)`).ReplaceAllStringFunc(virtOperator, func(match string) string {
		return images.Name(match[len("IMAGE("):len(match)-1], set.Version)
	})
	ours = strings.ReplaceAll(ours, "VERSION}", set.Version+"}")
	objects, err := Objects([]byte(strings.ReplaceAll(text, "{{.Namespace}}", "kubevirt") + ours))
	if err != nil {
		return err
	}
	last := len(objects) - 1
	if !strings.Contains(text, "disabledFeatureGates:") { // KubeVirt 1.6 does not know it, nor needs it
		unstructured.RemoveNestedField(objects[last].Object, "spec", "configuration", "developerConfiguration", "disabledFeatureGates")
	}
	if err := c.Apply(ctx, objects[:last]...); err != nil {
		return err
	}
	if err := c.applySoon(ctx, objects[last]); err != nil {
		return err
	}
	err = node.Until(ctx, patience, "KubeVirt to be deployed", func(ctx context.Context) error {
		kv, err := c.Get(ctx, KubeVirtKind, "kubevirt", "kubevirt")
		if err != nil {
			return err
		}
		if phase, _, _ := unstructured.NestedString(kv.Object, "status", "phase"); phase != "Deployed" {
			return fmt.Errorf("phase %q", phase)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Describe(ctx, "kubevirt"))
	}
	return nil
}

// InstallMonitoring installs the Prometheus operator by its own bundle, with only namespace and images changed, and
// kube-state-metrics with the rights of its own example. It has the operator run a Prometheus, and waits for it.
func (c *Client) InstallMonitoring(ctx context.Context, operator, prometheus, kubeState programs.Set) error {
	if err := c.Namespace(ctx, Monitoring, nil); err != nil {
		return err
	}
	text, err := read(operator, "", "bundle.yaml")
	if err != nil {
		return err
	}
	text = regexp.MustCompile(`quay\.io/prometheus-operator/([a-z-]+):v[0-9.]+`).ReplaceAllString(text, images.Name("$1", operator.Version))
	objects, err := Objects([]byte(regexp.MustCompile(`(?m)^( *)namespace: default$`).ReplaceAllString(text, "${1}namespace: "+Monitoring)))
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
	rights, err := read(kubeState, "examples/standard/", "service-account.yaml", "cluster-role.yaml", "cluster-role-binding.yaml")
	if err != nil {
		return err
	}
	text = strings.NewReplacer(
		"IMAGE(prometheus)", images.Name("prometheus", prometheus.Version),
		"VERSION", "v"+strings.TrimSpace(string(version)),
		"IMAGE(kube-state-metrics)", images.Name("kube-state-metrics", kubeState.Version),
		"namespace: kube-system", "namespace: "+Monitoring,
	).Replace(prometheusManifest + "\n---\n" + rights + kubeStateManifest)
	if objects, err = Objects([]byte(text)); err != nil {
		return err
	}
	if err := c.applySoon(ctx, objects...); err != nil {
		return err
	}
	return c.WaitRollout(ctx, Monitoring, "StatefulSet", "prometheus-e2e")
}

// read reads YAML files of a module's source, each as a document of its own.
func read(set programs.Set, folder string, names ...string) (string, error) {
	var all strings.Builder
	for _, name := range names {
		part, err := os.ReadFile(filepath.Join(set.Module, folder, name))
		if err != nil {
			return "", fmt.Errorf("read manifests: %w", err)
		}
		all.Write(part)
		all.WriteString("\n---\n")
	}
	return all.String(), nil
}

// applySoon applies objects whose kinds' definitions may be new: they take a moment to be served.
func (c *Client) applySoon(ctx context.Context, objects ...*unstructured.Unstructured) error {
	return node.Until(ctx, patience, "the API server to accept "+objects[0].GetKind(), func(ctx context.Context) error {
		return c.Apply(ctx, objects...)
	})
}

// Namespace creates a namespace with labels, or sets them on one that is there.
func (c *Client) Namespace(ctx context.Context, name string, labels map[string]string) error {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	object.SetName(name)
	object.SetLabels(labels)
	return c.Apply(ctx, object)
}

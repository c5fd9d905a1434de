package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/images"
	"kubevirt-hypervisor-exporter/e2e/poll"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

// KubeVirtKind is the kind of KubeVirt's own configuration.
var KubeVirtKind = schema.GroupVersionKind{Group: "kubevirt.io", Version: "v1", Kind: "KubeVirt"}

//go:embed manifests/virt-operator.yaml
var virtOperator string

// InstallKubeVirt has KubeVirt's operator install KubeVirt, and waits until it has.
func (c *Client) InstallKubeVirt(ctx context.Context, set programs.Set) error {
	if err := c.Namespace(ctx, "kubevirt", nil); err != nil {
		return err
	}
	generated := filepath.Join(set.Module, "manifests/generated")
	var text []byte
	for _, name := range []string{"kv-resource.yaml", "kubevirt-priority-class.yaml", "rbac-operator.authorization.k8s.yaml.in"} {
		part, err := os.ReadFile(filepath.Join(generated, name))
		if err != nil {
			return fmt.Errorf("read KubeVirt's manifests: %w", err)
		}
		text = fmt.Appendf(text, "\n---\n%s", strings.ReplaceAll(string(part), "{{.Namespace}}", "kubevirt"))
	}
	ours := regexp.MustCompile(`IMAGE\((.+?)\)`).ReplaceAllStringFunc(virtOperator, func(match string) string {
		return images.Name(match[len("IMAGE("):len(match)-1], set.Version)
	})
	objects, err := Objects(fmt.Appendf(text, "\n---\n%s", strings.ReplaceAll(ours, "VERSION}", set.Version+"}")))
	if err != nil {
		return err
	}
	last := len(objects) - 1
	if !strings.Contains(string(text), "disabledFeatureGates:") { // KubeVirt 1.6 does not know it, nor needs it
		unstructured.RemoveNestedField(objects[last].Object, "spec", "configuration", "developerConfiguration", "disabledFeatureGates")
	}
	if err := c.Apply(ctx, objects[:last]...); err != nil {
		return err
	}
	// The definition of its kind takes a moment to be served.
	if err := poll.Until(ctx, time.Minute, "KubeVirt's configuration to be accepted", func(ctx context.Context) error { return c.Apply(ctx, objects[last]) }); err != nil {
		return err
	}
	err = poll.Until(ctx, 5*time.Minute, "KubeVirt to be deployed", func(ctx context.Context) error {
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

// Emulate switches between KVM and software emulation for VMs that start from now on. It returns once KubeVirt has
// been told; VMs that start right after may still be of the other kind.
func (c *Client) Emulate(ctx context.Context, on bool) error {
	resource, err := c.Resource(KubeVirtKind, "kubevirt")
	if err != nil {
		return err
	}
	patch := fmt.Sprintf(`{"spec":{"configuration":{"developerConfiguration":{"useEmulation":%t}}}}`, on)
	_, err = resource.Patch(ctx, "kubevirt", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// Namespace makes a namespace with labels, or sets them on one that is there.
func (c *Client) Namespace(ctx context.Context, name string, labels map[string]string) error {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	object.SetName(name)
	object.SetLabels(labels)
	return c.Apply(ctx, object)
}

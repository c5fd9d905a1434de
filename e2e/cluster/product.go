package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"kubevirt-hypervisor-exporter/e2e/node"
)

// The namespaces of the product, and the name of what runs in the second.
const (
	Product = "hypervisor-exporter"
	Relay   = "hypervisor-exporter-relay"
)

// What a user installs: Default, Policy for a cluster without the webhook, Direct for one without the relay; others lie
// beside these.
const (
	Default = "manifests"
	Policy  = "manifests/overlays/admission-policy"
	Direct  = "manifests/overlays/direct"
)

// ProductObjects renders a folder of the product's manifests with the image, and what the patches change, as a user does:
// by a kustomization on top. The order is that of the manifests.
func ProductObjects(product, folder, image string, patches ...string) ([]*unstructured.Unstructured, error) {
	fs := filesys.MakeFsOnDisk()
	overlay, err := filesys.NewTmpConfirmedDir()
	if err != nil {
		return nil, err
	}
	defer func() { _ = fs.RemoveAll(overlay.String()) }()
	manifests, err := filepath.EvalSymlinks(filepath.Join(product, folder))
	if err != nil {
		return nil, fmt.Errorf("find the product's manifests: %w", err)
	}
	relative, err := filepath.Rel(overlay.String(), manifests)
	if err != nil {
		return nil, err
	}
	transformers, err := settings(product, folder, overlay.String())
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [%s]
images: [{name: images-not-set.see-docs-install.invalid/kubevirt-hypervisor-exporter, newName: %s}]
transformers: [%s]
patches: [%s]
`, relative, newName(image), strings.Join(transformers, ", "), strings.Join(patches, ", "))
	if err := fs.WriteFile(overlay.Join("kustomization.yaml"), []byte(text)); err != nil {
		return nil, err
	}
	return Kustomize(overlay.String())
}

// Kustomize renders a folder as `kubectl apply -k` does.
func Kustomize(folder string) ([]*unstructured.Unstructured, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", folder, err)
	}
	yaml, err := resources.AsYaml()
	if err != nil {
		return nil, err
	}
	return Objects(yaml)
}

// settings are the folders of the manifests that copy the sidecar's image to where it is injected, and the relay's folder
// to where it is mounted.
func settings(product, folder, overlay string) ([]string, error) {
	parts := []string{"webhook", "relay"}
	switch folder {
	case Policy:
		parts = []string{"admission-policy", "relay"}
	case Direct:
		parts = []string{"webhook"}
	}
	for i, part := range parts {
		absolute, err := filepath.EvalSymlinks(filepath.Join(product, "manifests/settings", part))
		if err != nil {
			return nil, fmt.Errorf("find the product's manifests: %w", err)
		}
		if parts[i], err = filepath.Rel(overlay, absolute); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// newName splits a reference, by tag or by digest, as a kustomization has it.
func newName(reference string) string {
	if name, digest, ok := strings.Cut(reference, "@"); ok {
		return fmt.Sprintf("%s, digest: %q", name, digest)
	}
	for i := len(reference) - 1; i >= 0 && reference[i] != '/'; i-- {
		if reference[i] == ':' {
			return fmt.Sprintf("%s, newTag: %q", reference[:i], reference[i+1:])
		}
	}
	return reference
}

// InstallProduct installs the product and waits until it works.
func (c *Client) InstallProduct(ctx context.Context, objects []*unstructured.Unstructured) error {
	if err := c.Apply(ctx, objects...); err != nil {
		return err
	}
	return c.WaitProduct(ctx)
}

// WaitProduct waits until what was installed works: the webhook serves, a relay runs on each node, and Prometheus
// scrapes the relays with the token and the CA that the operator brought it.
func (c *Client) WaitProduct(ctx context.Context) error {
	if err := c.WaitWebhook(ctx); err != nil {
		return err
	}
	if err := c.WaitRollout(ctx, Relay, "DaemonSet", Relay); err != nil {
		return err
	}
	return c.WaitScraped(ctx, Relay+"/"+Relay)
}

// WaitWebhook waits until webhook and certificate process are rolled out and the previous pods gone: while they end, they
// go on answering as before.
func (c *Client) WaitWebhook(ctx context.Context) error {
	if err := c.WaitRollout(ctx, Product, "Deployment", "hypervisor-exporter-certs", "hypervisor-exporter-webhook"); err != nil {
		return err
	}
	return node.Until(ctx, patience, "the previous pods to end", func(ctx context.Context) error {
		pods, err := c.CoreV1().Pods(Product).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp != nil {
				return fmt.Errorf("%s ends", pod.Name)
			}
		}
		return nil
	})
}

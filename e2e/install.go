package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
)

// install puts the images into the node, then KubeVirt, Prometheus and the product into the cluster.
func (l *lab) install(ctx context.Context, p parts) error {
	client, err := cluster.Connect(l.node.Kubeconfig())
	if err != nil {
		return err
	}
	// KubeVirt wants its install job and controllers there.
	label := []byte(`{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`)
	if _, err := client.CoreV1().Nodes().Patch(ctx, l.node.Name, types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
		return err
	}
	var product cluster.ProductImages
	if err := l.step("images into the node", func() (err error) { product, err = l.loadImages(ctx); return }); err != nil {
		return err
	}
	// KubeVirt takes longest, and waits for most of it.
	rest := make(chan error, 1)
	go func() { rest <- l.installRest(ctx, client, p, product) }()
	err = l.step("KubeVirt in the cluster", func() error { return client.InstallKubeVirt(ctx, p.kubevirt) })
	return errors.Join(err, l.step("Prometheus and product in the cluster", func() error { return <-rest }))
}

func (l *lab) installRest(ctx context.Context, client *cluster.Client, p parts, product cluster.ProductImages) error {
	if err := client.InstallMonitoring(ctx, p.operator, p.prometheus, p.kubeState); err != nil {
		return err
	}
	if err := client.WaitMonitoring(ctx); err != nil {
		return err
	}
	objects, err := cluster.ProductObjects(l.product, cluster.Default, product)
	if err != nil {
		return err
	}
	return client.InstallProduct(ctx, objects)
}

// loadImages imports our archive and the product's, which `make image` wrote, and tells what the latter are called.
func (l *lab) loadImages(ctx context.Context) (cluster.ProductImages, error) {
	if err := l.node.CopyGuests(ctx); err != nil {
		return cluster.ProductImages{}, err
	}
	var names []string
	for _, archive := range []string{node.Images, node.WebhookImage, node.SidecarImage, node.RelayImage} {
		name, err := l.node.Import(ctx, archive)
		if err != nil {
			return cluster.ProductImages{}, fmt.Errorf("%w (make image builds the product's into %s)", err, filepath.Join(l.product, "bin"))
		}
		names = append(names, name)
	}
	return cluster.ProductImages{Webhook: names[1], Sidecar: names[2], Relay: names[3]}, nil
}

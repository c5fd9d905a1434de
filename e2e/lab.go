package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/images"
	"kubevirt-hypervisor-exporter/e2e/node"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

// defaultKubeVirt is what E2E_KUBEVIRT overrides.
const defaultKubeVirt = "v1.9.0"

// lab is one cluster on this machine and what it is made of.
type lab struct {
	source   string // this module's folder
	product  string // the product's
	cache    programs.Cache
	node     *node.Node
	second   *node.Node
	kubevirt string
}

func newLab() (*lab, error) {
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the source of the end-to-end tests (run within e2e): %w", err)
	}
	cache, err := programs.UserCache()
	if err != nil {
		return nil, err
	}
	if err := node.CheckIP(os.Getenv("E2E_IP")); err != nil {
		return nil, fmt.Errorf("E2E_IP: %w", err)
	}
	l := &lab{source: strings.TrimSpace(string(output)), cache: cache, kubevirt: os.Getenv("E2E_KUBEVIRT"), product: os.Getenv("E2E_PRODUCT")}
	if l.kubevirt == "" {
		l.kubevirt = defaultKubeVirt
	}
	if l.product == "" {
		l.product = filepath.Dir(l.source)
	}
	l.node = node.First(cache.Path("node-1"))
	l.second = node.Second(cache.Path("node-2"), l.node)
	return l, nil
}

// step runs one part and prints how long it took.
func step(name string, do func() error) error {
	started := time.Now()
	err := do()
	fmt.Printf("%6.1f s  %s\n", time.Since(started).Seconds(), name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

type parts struct {
	kubernetes, kubevirt, operator, prometheus, kubeState programs.Set
	root, layer, archive, guest                           string
}

// make builds whatever the cache does not hold.
func (l *lab) make(ctx context.Context) (p parts, err error) {
	builder := programs.Builder{Source: filepath.Join(l.source, "programs"), Cache: l.cache}
	err = errors.Join(
		step("Debian", func() (err error) { p.root, p.layer, err = images.Debian(ctx, l.cache); return }),
		step("guests", func() (err error) { p.guest, err = images.Guest(ctx, l.cache); return }),
		step("Kubernetes", func() (err error) { p.kubernetes, err = builder.Kubernetes(ctx, l.kubevirt); return }),
		step("KubeVirt "+l.kubevirt, func() (err error) { p.kubevirt, err = builder.KubeVirt(ctx, l.kubevirt); return }),
		step("Prometheus operator", func() (err error) { p.operator, err = builder.Monitoring(ctx); return }),
		step("Prometheus", func() (err error) { p.prometheus, err = builder.Prometheus(ctx); return }),
		step("kube-state-metrics", func() (err error) { p.kubeState, err = builder.KubeStateMetrics(ctx); return }),
	)
	if err != nil {
		return p, err
	}
	return p, step("images", func() (err error) {
		p.archive, err = images.Archive(ctx, l.cache, p.layer, p.kubevirt, p.operator, p.prometheus, p.kubeState)
		return
	})
}

// up brings the cluster up, and does something else meanwhile: that is mostly waiting.
func (l *lab) up(ctx context.Context, meanwhile ...func(context.Context) error) error {
	parts, err := l.make(ctx)
	if err != nil {
		return err
	}
	if l.node.PID() != 0 {
		return errRuns
	}
	if err := l.down(ctx); err != nil { // what a killed run left
		return err
	}
	l.node.Parts = node.Parts{
		Debian: parts.root, Kubernetes: parts.kubernetes.Dir, PauseImage: images.Pause, Reap: semver.Compare(l.kubevirt, "v1.7") < 0,
		IP:    os.Getenv("E2E_IP"),
		Binds: []string{parts.guest + ":/guest", filepath.Dir(parts.archive) + ":/images", filepath.Join(l.product, "bin") + ":/product"},
	}
	return beside(ctx, func(ctx context.Context) error { return l.install(ctx, parts) }, append(meanwhile, l.buildHelm)...)
}

// beside runs all at once and waits for each.
func beside(ctx context.Context, do func(context.Context) error, others ...func(context.Context) error) error {
	done := make(chan error, len(others))
	for _, other := range others {
		go func() { done <- other(ctx) }()
	}
	err := do(ctx)
	for range others {
		err = errors.Join(err, <-done)
	}
	return err
}

// buildHelm builds what one of the checks needs.
func (l *lab) buildHelm(ctx context.Context) error {
	_, err := programs.Builder{Source: filepath.Join(l.product, "charts", "charttest"), Cache: l.cache}.Helm(ctx)
	return err
}

// install starts the node, and installs KubeVirt, Prometheus and the product.
func (l *lab) install(ctx context.Context, p parts) error {
	var client *cluster.Client
	if err := step("node", func() (err error) { client, err = l.startNode(ctx); return }); err != nil {
		return err
	}
	var image string
	if err := step("images into the node", func() (err error) { image, err = l.loadImages(ctx); return }); err != nil {
		return err
	}
	return beside(ctx,
		func(ctx context.Context) error {
			return step("KubeVirt in the cluster", func() error { return client.InstallKubeVirt(ctx, p.kubevirt) })
		},
		func(ctx context.Context) error {
			return step("Prometheus and product in the cluster", func() error {
				if err := client.InstallMonitoring(ctx, p.operator, p.prometheus, p.kubeState); err != nil {
					return err
				}
				objects, err := cluster.ProductObjects(l.product, cluster.Default, image)
				if err != nil {
					return err
				}
				return client.InstallProduct(ctx, objects)
			})
		})
}

func (l *lab) startNode(ctx context.Context) (*cluster.Client, error) {
	if err := l.node.Start(ctx); err != nil {
		return nil, err
	}
	client, err := cluster.Connect(l.node.Kubeconfig())
	if err != nil {
		return nil, err
	}
	if err := client.WaitNode(ctx, l.node.Name); err != nil {
		return nil, err
	}
	// KubeVirt's install job and controllers need such a node.
	return client, client.PatchNode(ctx, l.node.Name, `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`)
}

// loadImages imports our archive and the product's, which `make image` wrote, and returns the name of the latter.
func (l *lab) loadImages(ctx context.Context) (image string, err error) {
	if err := l.node.CopyGuests(ctx); err != nil {
		return "", err
	}
	if _, err := l.node.Import(ctx, node.Images); err != nil {
		return "", err
	}
	image, err = l.node.Import(ctx, node.ProductImage)
	if err != nil {
		return "", fmt.Errorf("%w (make image builds the product's into %s)", err, filepath.Join(l.product, "bin"))
	}
	return image, nil
}

func (l *lab) down(ctx context.Context) error {
	return errors.Join(l.second.Stop(ctx), l.node.Stop(ctx))
}

// errRuns is returned where another run's cluster is up.
var errRuns = errors.New("a cluster is running: make e2e-down ends it")

// end removes the cluster after a failure or an interrupt, unless it is another run's or E2E_KEEP keeps it. It returns the
// failure, and what else went wrong.
func (l *lab) end(ctx context.Context, failure error) error {
	if errors.Is(failure, errRuns) {
		return failure
	}
	if os.Getenv("E2E_KEEP") != "" {
		fmt.Println("E2E_KEEP is set: the cluster is left as it is, logs in", filepath.Join(l.node.State, "share", "log"))
		return failure
	}
	return errors.Join(failure, l.down(context.WithoutCancel(ctx)))
}

// test brings the cluster up, checks it and removes it whatever happened.
func (l *lab) test(ctx context.Context, args []string) error {
	dir, err := os.MkdirTemp("", "e2e-checks-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	checks := checks{source: filepath.Join(l.source, "checks"), program: filepath.Join(dir, "checks")}
	err = l.up(ctx, checks.compile)
	if err == nil {
		err = step("checks", func() error { return checks.run(ctx, args) })
	}
	if err != nil {
		return l.end(ctx, err)
	}
	return l.down(ctx)
}

// Package checks checks the product's promises on a cluster that e2e up has started. Each file is a promise, or one part
// of the framework: framework, vm, node, product, prometheus, alert, watch, plugin, relay, registry.
package checks

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/version"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

const (
	labelled = "vms"   // VMs here get a sidecar
	plain    = "plain" // and here they do not
	sidecar  = "hypervisor-exporter"
	inject   = "hypervisor-exporter.kubevirt.io/inject"
)

// patience bounds every wait for something that must happen. It is generous: a busy machine is no reason to fail.
const patience = 5 * time.Minute

// framework is the cluster under test as one check, or a part of one, uses it. Its methods fail that check.
type framework struct {
	*cluster.Client
	t    *testing.T
	ctx  context.Context // not cancelled when the check ends: its clean-ups use it too
	node *node.Node
	seen *seen
}

// seen is what a failed check prints.
type seen struct {
	printed sync.Once
	vms     []vm // that the check has created
}

// connect connects to the cluster, which then has the namespaces, guests' disks and short rules that every check uses.
func connect(t *testing.T) *framework {
	dir, err := programs.UserCache()
	require.NoError(t, err)
	f := &framework{t: t, ctx: context.WithoutCancel(t.Context()), node: node.First(dir.Path("node-1")), seen: new(seen)}
	require.NotZero(t, f.node.PID(), "no cluster runs: make e2e-up starts one")
	f.must(f.node.Recall())
	f.Client, err = cluster.Connect(f.node.Kubeconfig())
	f.must(err)
	f.namespace(labelled)
	f.must(f.Namespace(f.ctx, plain, nil))
	for _, namespace := range []string{labelled, plain} {
		for _, disk := range []string{"acpi", "off", "crash"} {
			f.apply(diskManifest, namespace, disk)
		}
	}
	f.installShortRules()
	t.Cleanup(f.explain)
	return f
}

const diskManifest = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: "%[1]s-%[2]s"}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], storageClassName: "", hostPath: {path: /var/guest/%[2]s}, claimRef: {namespace: %[1]s, name: "%[2]s"}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: "%[2]s", namespace: %[1]s}
spec: {accessModes: [ReadWriteMany], storageClassName: "", volumeName: %[1]s-%[2]s, resources: {requests: {storage: 1Gi}}}
`

// with returns the framework for a part of the check.
func (f *framework) with(t *testing.T) *framework {
	part := *f
	part.t = t
	return &part
}

// part runs a part of the check.
func (f *framework) part(name string, check func(f *framework)) {
	f.t.Run(name, func(t *testing.T) { check(f.with(t)) })
}

// must fails the check unless err is nil.
func (f *framework) must(err error, what ...any) {
	require.NoError(f.t, err, what...)
}

// eventually tries until there is no error.
func (f *framework) eventually(what string, try func() error) {
	f.must(node.Until(f.ctx, patience, what, func(context.Context) error { return try() }))
}

// until waits for a condition; state, where it is not nil, returns what a failure shows.
func (f *framework) until(what string, condition func() bool, state func() any) {
	f.eventually(what, func() error {
		if condition() {
			return nil
		}
		if state == nil {
			return fmt.Errorf("not yet")
		}
		return fmt.Errorf("so far: %v", state())
	})
}

// threeTries tries again what compares times: other work on the machine may hold up one of the two that are compared.
func (f *framework) threeTries(try func(number int) error) {
	for number := 1; ; number++ {
		err := try(number)
		if err == nil {
			return
		}
		require.Less(f.t, number, 3, err)
		f.t.Logf("try %d: %v", number, err)
	}
}

// namespace makes a namespace whose VMs get a sidecar.
func (f *framework) namespace(name string) {
	f.must(f.Namespace(f.ctx, name, map[string]string{inject: "enabled"}))
}

// apply applies the objects of a YAML text with the values filled in.
func (f *framework) apply(text string, values ...any) {
	objects, err := cluster.Objects(fmt.Appendf(nil, text, values...))
	f.must(err)
	f.must(f.Apply(f.ctx, objects...))
}

// impose applies the objects of a YAML text until the check ends.
func (f *framework) impose(text string, values ...any) {
	objects, err := cluster.Objects(fmt.Appendf(nil, text, values...))
	f.must(err)
	f.t.Cleanup(func() { f.must(f.Client.Delete(f.ctx, objects...)) })
	f.must(f.Apply(f.ctx, objects...))
}

// needs skips the check on a Kubernetes older than the version.
func (f *framework) needs(version string) {
	if !f.atLeast(version) {
		f.t.Skipf("needs Kubernetes %s; this KubeVirt runs on an older one", version)
	}
}

// atLeast reports whether the cluster's Kubernetes is of the version or newer.
func (f *framework) atLeast(wanted string) bool {
	server, err := f.Discovery().ServerVersion()
	f.must(err)
	return version.MustParseSemantic(server.GitVersion).AtLeast(version.MustParseGeneric(wanted))
}

// explain prints, once a check has failed, what a person needs to find out why.
func (f *framework) explain() {
	if f.t.Failed() {
		f.seen.printed.Do(f.print)
	}
}

func (f *framework) print() {
	for _, namespace := range []string{cluster.Product, cluster.Relay} {
		f.t.Logf("namespace %s:\n%s", namespace, f.Describe(f.ctx, namespace))
	}
	targets, err := f.Targets(f.ctx, vmsJob)
	f.t.Logf("Prometheus has %d targets (%v)", len(targets), err)
	for _, v := range f.seen.vms {
		f.t.Logf("VM %s/%s:\n%s", v.namespace, v.name, f.Describe(f.ctx, v.namespace, v.name))
		for _, target := range targets {
			if target.Labels["namespace"] == v.namespace && target.Labels["name"] == v.name {
				f.t.Logf("  its target is %s: %s %v: %s", target.Health, target.ScrapeURL, target.Labels, target.LastError)
			}
		}
	}
}

package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

// releaseBefore is what users upgrade from. There was no release yet: it is the last commit with an image for each part.
const releaseBefore = "7b98dc5"

// This release and the one before replace each other, by kustomize, while VMs run: no VM is touched or missing
// for more than a scrape or two, and no alert fires. Relay, rules and plugin read both releases' sidecars; a plugin that is
// newer than the relay says so.
func TestSkew(t *testing.T) {
	f := connect(t)
	tree := f.loadReleaseBefore()
	before, err := cluster.Kustomize(filepath.Join(tree, "manifests"))
	f.must(err)
	image := f.restoreProduct()
	now := f.manifests(cluster.Default, image)

	fresh := vm{namespace: labelled, name: "skew-new"}
	f.startMeasured(fresh)
	f.part("back", func(f *framework) {
		f.unharmed(func() { f.must(f.InstallProduct(f.ctx, before)) }, fresh)
		f.requirePluginRefused(fresh)
	})
	f.must(f.Client.Delete(f.ctx, without(now, before)...)) // as if it had never been there
	old := vm{namespace: labelled, name: "skew-old"}
	f.startMeasured(old)
	require.NotEqual(t, f.sidecarOf(fresh).Image, f.sidecarOf(old).Image)
	f.part("upgrade", func(f *framework) {
		f.unharmed(func() { f.must(f.InstallProduct(f.ctx, now)) }, old, fresh)
		f.requireRead(old, fresh)
	})
	later := vm{namespace: labelled, name: "skew-later"}
	f.startMeasured(later)
	require.Equal(t, image, f.sidecarOf(later).Image)
}

// The same by Helm, with the values that docs/install.md names.
func TestSkewHelm(t *testing.T) {
	f := connect(t)
	tree := f.loadReleaseBefore()
	before, err := cluster.Kustomize(filepath.Join(tree, "manifests"))
	f.must(err)
	image := f.restoreProduct()
	now := f.manifests(cluster.Default, image)
	f.must(f.Client.Delete(f.ctx, now...))
	f.must(f.Client.Delete(f.ctx, f.pluginRights()...))
	f.requireGone(now)

	f.must(f.Apply(f.ctx, before[slices.IndexFunc(before, isProductNamespace)])) // as docs/install.md has it
	namespace := "--namespace=" + cluster.Product
	f.helm("install", "hypervisor-exporter", filepath.Join(tree, "charts/kubevirt-hypervisor-exporter"), namespace)
	f.must(f.WaitProduct(f.ctx))
	old := vm{namespace: labelled, name: "skew-chart-old"}
	f.startMeasured(old)
	f.part("upgrade", func(f *framework) {
		f.unharmed(func() {
			repository, tag, _ := strings.Cut(image, ":")
			f.helm("upgrade", "hypervisor-exporter", filepath.Join(product(f.t), "charts/kubevirt-hypervisor-exporter"), namespace,
				"--reset-values", "--set=image.repository="+repository, "--set=image.tag="+tag)
			f.must(f.WaitProduct(f.ctx))
		}, old)
		f.requireRead(old)
	})
	charted := vm{namespace: labelled, name: "skew-chart-new"}
	f.startMeasured(charted)
	require.Equal(t, image, f.sidecarOf(charted).Image)
	f.part("rollback", func(f *framework) {
		f.unharmed(func() {
			f.helm("rollback", "hypervisor-exporter", "1", namespace)
			f.must(f.WaitProduct(f.ctx))
		}, old, charted)
		f.requirePluginRefused(charted)
	})
	f.must(f.Client.Delete(f.ctx, f.pluginRights()...))
	f.helm("uninstall", "hypervisor-exporter", namespace)
	f.must(f.CoreV1().Namespaces().Delete(f.ctx, cluster.Product, metav1.DeleteOptions{}))
	f.requireGone(now)
}

func isProductNamespace(object *unstructured.Unstructured) bool {
	return object.GetKind() == "Namespace" && object.GetName() == cluster.Product
}

// startMeasured starts a VM and waits for its series.
func (f *framework) startMeasured(v vm) {
	f.start(v)
	f.requireMeasured(v, "kvm")
}

// unharmed fails the check unless what replace does, which is to install another release, leaves VMs and alerts alone, and
// unless relay and rules read the VMs' sidecars afterwards.
func (f *framework) unharmed(replace func(), vms ...vm) {
	type state struct {
		requireUntouched func()
		pod              *corev1.Pod
		ready, qemu      string
	}
	states := make([]state, len(vms))
	for i, v := range vms {
		f.awaitTarget(v, "up")
		states[i] = state{f.observe(v), f.pod(v), f.readiness(v), f.qemu(v)}
	}
	known := f.activeAlerts()
	began := time.Now()
	replace()
	replaced := time.Since(began)
	for _, v := range vms {
		f.awaitTarget(v, "up")
		f.until("three scrapes of "+v.key()+" by the new relay", func() bool { return len(f.measuredAt(v, time.Since(began)-replaced)) >= 3 }, nil)
	}
	relay := f.relayOn(f.node.Name)
	running := status(relay, "relay").State.Running
	require.NotNil(f.t, running)
	away := running.StartedAt.Sub(relay.CreationTimestamp.Time)
	for i, v := range vms {
		states[i].requireUntouched()
		require.Equal(f.t, states[i].pod.UID, f.pod(v).UID)
		require.Equal(f.t, states[i].ready, f.readiness(v))
		require.Equal(f.t, states[i].qemu, f.qemu(v))
		gap := longest(f.measuredAt(v, time.Since(began)))
		f.t.Logf("%s: the longest gap between two samples is %.1f s; the relay was away for %.0f s", v.key(), gap.Seconds(), away.Seconds())
		// Two scrapes, and the time in which no relay runs on the node.
		require.LessOrEqual(f.t, gap, 3*scrapeInterval+away)
	}
	f.until("no alert to be new", func() bool { return len(f.without(known)) == 0 }, func() any { return f.without(known) })
	for _, series := range f.query(`max_over_time(ALERTS{alertstate="firing",%s=""}[%ds])`, shortMark, 1+int(time.Since(began).Seconds())) {
		if name := series.Metric["alertname"]; f.isOurs(name) && !slices.Contains(causedElsewhere, name) {
			require.Contains(f.t, known, identity(series.Metric), "fired meanwhile")
		}
	}
}

// requireRead fails unless the plugin lists and explains each VM through the relay, and its check finds no fault.
func (f *framework) requireRead(vms ...vm) {
	for _, v := range vms {
		f.requireListed(v, "kvm")
	}
	got := f.reader("skew-check", labelled).call(f.t, "check", "-n", labelled)
	require.NotContains(f.t, got.out, "fail  ")
}

// requirePluginRefused fails unless the plugin, newer than the relay, reports that and no type.
func (f *framework) requirePluginRefused(v vm) {
	reader := f.reader("skew-back", labelled)
	seen := listed(f.t, reader, v)
	require.Equal(f.t, []string{"", "not_found_out"}, []string{seen.Type, seen.Reason})
	require.Equal(f.t, "kvm", listed(f.t, reader, v, f.prometheusFlags()...).Type)
	const why = "upgrade it to the release of this hypervisorctl"
	for _, args := range [][]string{{"list", "-n", labelled}, {"explain", v.name, "-n", labelled}, {"check", "-n", labelled}} {
		got := reader.call(f.t, args...)
		require.Contains(f.t, got.out+got.err, why)
	}
}

// readiness is the VM's own condition, with when it last changed.
func (f *framework) readiness(v vm) string {
	vmi, err := f.Get(f.ctx, vmiKind, v.namespace, v.name)
	f.must(err)
	conditions, _, _ := unstructured.NestedSlice(vmi.Object, "status", "conditions")
	i := slices.IndexFunc(conditions, func(c any) bool { return c.(map[string]any)["type"] == "Ready" })
	require.NotEqual(f.t, -1, i, conditions)
	text, err := json.Marshal(conditions[i])
	f.must(err)
	return string(text)
}

// qemu is the number of the VM's process in its own container. libvirt runs others for a moment, to find out what QEMU can do.
func (f *framework) qemu(v vm) string {
	const ofGuests = `for name in $(grep -l ^qemu /proc/[0-9]*/comm); do process=${name%/comm}; grep -qa guest= "$process/cmdline" && echo "${process##*/}"; done; true`
	process := strings.TrimSpace(f.exec(f.pod(v), "compute", "sh", "-c", ofGuests))
	require.Regexp(f.t, `^\d+$`, process)
	return process
}

// measuredAt are the times, in seconds, of the VM's samples in the last while.
func (f *framework) measuredAt(v vm, last time.Duration) (times []float64) {
	for _, series := range f.query("%s[%dms]", v.series("kubevirt_vmi_hypervisor_info", `hypervisor_type="kvm"`), max(1, last.Milliseconds())) {
		for _, sample := range series.Values {
			times = append(times, sample[0].(float64))
		}
	}
	slices.Sort(times)
	return times
}

// longest is the longest time between two that follow each other.
func longest(times []float64) (gap time.Duration) {
	for i := 1; i < len(times); i++ {
		gap = max(gap, time.Duration((times[i]-times[i-1])*float64(time.Second)))
	}
	return gap
}

// causedElsewhere are alerts that are true here whatever the release: this node is a VM, and TestBroken had pods refused.
var causedElsewhere = []string{"VirtualMachinesOnNestedVirtualization", "HypervisorExporterPodsRefused"}

// activeAlerts are the product's own alerts that are pending or fire, without those that others cause.
func (f *framework) activeAlerts() (active []string) {
	all, err := f.Alerts(f.ctx)
	f.must(err)
	for _, alert := range all {
		if name := alert.Labels["alertname"]; alert.Labels[shortMark] == "" && f.isOurs(name) && !slices.Contains(causedElsewhere, name) {
			active = append(active, identity(alert.Labels))
		}
	}
	return active
}

// without are the active alerts that are not known.
func (f *framework) without(known []string) []string {
	return slices.DeleteFunc(f.activeAlerts(), func(a string) bool { return slices.Contains(known, a) })
}

func (f *framework) isOurs(alert string) bool {
	return slices.ContainsFunc(f.productRules(), func(g ruleGroup) bool {
		return slices.ContainsFunc(g.Rules, func(r rule) bool { return r.Alert == alert })
	})
}

// identity is what tells an alert from others. Severities and the labels for all alerts differ between releases.
func identity(labels map[string]string) string {
	return fmt.Sprint(labels["alertname"], labels["namespace"], labels["name"], labels["node"], labels["pod"])
}

// loadReleaseBefore builds the release before, gives the node its images, and returns its folder.
func (f *framework) loadReleaseBefore() (tree string) {
	dir, err := programs.UserCache()
	f.must(err)
	history := exec.CommandContext(f.ctx, "git", "-C", product(f.t), "cat-file", "-e", releaseBefore+"^{commit}")
	if output, err := history.CombinedOutput(); err != nil { // a source archive, or a clone of the last commit alone, can run all else
		f.t.Skipf("the release before, commit %s, is not in this clone's history: git fetch --unshallow (in GitHub Actions: checkout with fetch-depth: 0)\n%s", releaseBefore, output)
	}
	tree, err = dir.Make(f.ctx, "release-before", []byte(releaseBefore), func(ctx context.Context, path string) error {
		f.t.Logf("building the release before")
		command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", `
			mkdir "$1"; git -C "$2" archive "$3" | tar -x -C "$1"; cd "$1"
			nice -n 10 make image ARCHES="$4" VERSION="$3" REVISION="$3"`, "bash", path, product(f.t), releaseBefore, runtime.GOARCH)
		command.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") })
		output, err := command.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		return nil
	})
	f.must(err)
	for _, part := range []string{"sidecar", "webhook", "relay"} {
		archive := part + ".oci.tar"
		text, err := os.ReadFile(filepath.Join(tree, "bin", archive))
		f.must(err)
		shared := filepath.Join(f.node.State, "share", archive)
		f.must(os.WriteFile(shared, text, 0o644))
		_, err = f.node.Import(f.ctx, "/node/"+archive)
		f.must(err)
		f.must(os.Remove(shared))
	}
	return tree
}

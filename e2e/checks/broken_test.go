package checks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// A breakage is one thing that is wrong on a cluster.
type breakage struct {
	name string
	// spoil breaks it, until the check ends, and returns the namespace of the VM that is checked.
	spoil func(f *framework) string
	// line is the first failing line of check; hint is in what follows it, if it is set.
	line, hint string
}

func breakages() []breakage {
	return []breakage{
		{"label", spoilLabel, `fail  these namespaces ask for sidecars in a way that has no effect`, "broken-label"},
		{"rule-selector", spoilRuleSelector, `fail  .*PrometheusRule.*`, "ruleSelector"},
		{"namespace-selectors", spoilNamespaceSelectors, `fail  .*PodMonitor.*`, "ignoreNamespaceSelectors"},
		{"kubelet-root", spoilKubeletRoot, `fail  the relay of these nodes finds no VM, because its own pod is not in --kubelet-pods-dir`, "e2e-node-1"},
		{"ca", spoilCA, `fail  caBundle of .*expired`, ""},
		{"image", spoilImage, `warn  a virt-launcher pod in the namespace broken-image is refused because of the sidecar, so VMs start without it`, "this image is not on the list"},
		{"limit-range", spoilLimits, `warn  LimitRange.*`, "broken-limit-range"},
		{"opted-out", spoilOptOut, `ok    1 VM has no metric: opted_out: .*`, "broken-opted-out/opted-out"},
		{"not-migratable", spoilMigration, `warn  1 VM has no metric: missed: .*`, "broken-not-migratable/not-migratable"},
		{"webhook", spoilWebhook, `fail  Deployment hypervisor-exporter-webhook is scaled to 0`, ""},
	}
}

// On a cluster that is broken in one way, the first failing line of check names it, or the first warning if nothing fails. With TestHypervisorctl, where a
// user has no rights, these are ten ways and one more.
func TestBroken(t *testing.T) {
	f := connect(t)
	admin := plugin{account: "admin", kubeconfig: f.node.Kubeconfig()}
	for _, b := range breakages() {
		f.part(b.name, func(f *framework) {
			namespace := b.spoil(f)
			args := append([]string{"check", "-n", namespace}, f.prometheusFlags()...)
			f.eventually("check to name it", func() error { // what watches the cluster needs a moment
				first, rest := firstFailing(admin.call(f.t, args...).out)
				if !regexp.MustCompile(`^`+b.line).MatchString(first) || !strings.Contains(first+rest, b.hint) {
					return fmt.Errorf("it begins with %q", first)
				}
				return nil
			})
		})
	}
}

// firstFailing returns the first failing line, and all that follows. Without a failure, the first warning counts, and
// without that the first line about VMs without a metric.
func firstFailing(output string) (first, rest string) {
	lines := strings.Split(output, "\n")
	for _, level := range []string{"  fail  ", "  warn  ", "  ok    1 VM has no metric"} {
		for i, line := range lines {
			if strings.HasPrefix(line, level) {
				return strings.TrimSpace(line), strings.Join(lines[i+1:], "\n")
			}
		}
	}
	return "", ""
}

// brokenVM starts a VM in a namespace of its own that is enabled.
func (f *framework) brokenVM(v vm) string {
	v.namespace = "broken-" + v.name
	f.namespace(v.namespace)
	f.start(v)
	return v.namespace
}

func spoilLabel(f *framework) string {
	v := vm{namespace: "broken-label", name: "label"}
	f.must(f.Namespace(f.ctx, v.namespace, map[string]string{inject: "yes"}))
	f.start(v)
	return v.namespace
}

var prometheusKind = schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: "Prometheus"}

// patchPrometheus merges a JSON text into the Prometheus object until the check ends.
func (f *framework) patchPrometheus(spoil, restore string) {
	patch := func(text string) {
		f.must(f.Patch(f.ctx, prometheusKind, cluster.Monitoring, "e2e", `{"spec":`+text+`}`))
	}
	f.t.Cleanup(func() { patch(restore) })
	patch(spoil)
}

func spoilRuleSelector(f *framework) string {
	f.patchPrometheus(`{"ruleSelector":{"matchLabels":{"role":"none"}}}`, `{"ruleSelector":{"matchLabels":null}}`)
	return labelled
}

func spoilNamespaceSelectors(f *framework) string {
	f.patchPrometheus(`{"ignoreNamespaceSelectors":true}`, `{"ignoreNamespaceSelectors":null}`)
	return labelled
}

func spoilKubeletRoot(f *framework) string {
	namespace := f.brokenVM(vm{name: "kubelet-root"})
	const elsewhere, path = "/var/lib/elsewhere/pods", "/spec/template/spec/volumes/0/hostPath/path"
	f.run("mkdir", "-p", elsewhere)
	set := func(folder string) {
		_, err := f.AppsV1().DaemonSets(cluster.Relay).Patch(f.ctx, cluster.Relay, types.JSONPatchType,
			fmt.Appendf(nil, `[{"op":"replace","path":%q,"value":%q}]`, path, folder), metav1.PatchOptions{})
		f.must(err)
	}
	f.t.Cleanup(func() {
		set("/var/lib/kubelet/pods")
		f.must(f.WaitProduct(f.ctx))
	})
	set(elsewhere)
	f.awaitRelayLog(f.node, "is not where this node's kubelet keeps its pods")
	return namespace
}

// spoilCA puts an expired CA in place of the webhook's, while the process that would renew it is away.
func spoilCA(f *framework) string {
	namespace := f.brokenVM(vm{name: "ca"})
	f.scale(certsProcess, "certs", 0, 1)
	before, err := f.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(f.ctx, "hypervisor-exporter", metav1.GetOptions{})
	f.must(err)
	set := func(bundle []byte) {
		_, err := f.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(f.ctx, before.Name, types.JSONPatchType,
			fmt.Appendf(nil, `[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":%q}]`, base64.StdEncoding.EncodeToString(bundle)), metav1.PatchOptions{})
		f.must(err)
	}
	f.t.Cleanup(func() { set(before.Webhooks[0].ClientConfig.CABundle) })
	set(expiredCA(f.t))
	return namespace
}

func expiredCA(t *testing.T) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// spoilBy has the refusal of that name refuse a VM's pods.
func (f *framework) spoilBy(refused, name string) string {
	v := vm{namespace: "broken-" + name, name: name}
	f.namespace(v.namespace)
	for _, r := range refusals() {
		if r.name == refused {
			memory := f.launcherMemory()
			f.impose(r.objects, v.namespace, "")
			f.awaitRefusal(v.namespace, memory, r.reason)
		}
	}
	f.start(v)
	return v.namespace
}

func spoilImage(f *framework) string  { return f.spoilBy("image-list", "image") }
func spoilLimits(f *framework) string { return f.spoilBy("least-memory", "limit-range") }

func spoilOptOut(f *framework) string {
	return f.brokenVM(vm{name: "opted-out", annotations: map[string]string{inject: "false"}})
}

// spoilMigration starts a VM that cannot migrate, since no other node could have its disk, before its namespace is enabled.
func spoilMigration(f *framework) string {
	v := vm{namespace: "broken-not-migratable", name: "not-migratable", disk: "once"}
	f.must(f.Namespace(f.ctx, v.namespace, nil))
	f.apply(strings.NewReplacer("ReadWriteMany", "ReadWriteOnce", "/var/guest/%[2]s", "/var/guest/acpi").Replace(diskManifest), v.namespace, v.disk)
	f.start(v)
	f.namespace(v.namespace)
	return v.namespace
}

func spoilWebhook(f *framework) string {
	namespace := f.brokenVM(vm{name: "webhook"})
	f.scale(webhook, "webhook", 0, 2)
	return namespace
}

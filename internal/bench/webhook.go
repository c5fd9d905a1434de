package main

import (
	"context"
	"encoding/json"
	"fmt"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// largestPod is among the largest of the test pods that get a sidecar.
const largestPod = "webhook/inject/testdata/migration-target-selinux.yaml"

// webhook measures admissions over TLS.
func (b *bench) webhook(ctx context.Context) (*table, error) {
	pair, err := b.newKeyPair()
	if err != nil {
		return nil, err
	}
	review, err := reviews(largestPod)
	if err != nil {
		return nil, err
	}
	t := newTable(b.columns("decodes and allows"))
	if err := b.sizes(t, "webhook", ""); err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	servers, stop, err := startAll(t, func(column int) (*server, error) {
		s := &server{header: header, body: review, want: `"allowed":true`}
		if column == len(b.binaries) {
			return b.startYardstick(ctx, s, pair)
		}
		s.want = `"patchType":"JSONPatch"`
		return b.startWebhook(ctx, s, b.binaries[column], pair)
	})
	defer stop()
	if err != nil {
		return nil, err
	}
	if err := t.addMemory("at rest", servers); err != nil {
		return nil, err
	}
	rounds, perRound := pick(b, 7, 2), pick(b, 4000, 500)
	for _, atOnce := range []int{1, 8, 64} {
		progress("webhook: admissions, %d at once", atOnce)
		for round := range rounds + 1 {
			for column, s := range servers {
				took, cpu, err := s.load(ctx, atOnce, perRound)
				if err != nil {
					return nil, err
				}
				if round == 0 { // it warms up
					continue
				}
				t.add(column, fmt.Sprintf("%d at once: p50", atOnce), micro, quantile(took, 0.5))
				t.add(column, fmt.Sprintf("%d at once: p99", atOnce), micro, quantile(took, 0.99))
				t.add(column, fmt.Sprintf("%d at once: CPU", atOnce), micro, cpu)
			}
		}
	}
	return t, t.addMemory(fmt.Sprintf("after %d admissions", 3*(rounds+1)*perRound), servers)
}

// startWebhook starts the webhook. The server's header, body and want are set.
func (b *bench) startWebhook(ctx context.Context, s *server, binaries string, pair keyPair) (*server, error) {
	address, err := testkit.Address()
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(address, ":")
	s.client, s.url = pair.client(), func(int) string { return "https://" + address + "/mutate" }
	run := exec.Command(filepath.Join(binaries, "webhook"), "serve", "--sidecar-image=registry.example/sidecar:v1.2.3",
		"--bind-address="+host, "--secure-port="+port, "--tls-cert-file="+pair.cert, "--tls-private-key-file="+pair.key,
		"--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0", "--log-level=warn")
	return b.launch(ctx, s, run)
}

// reviews returns a function that returns reviews of the pod in the file. Each is for another VM: the webhook
// leaves a VM alone whose pod comes again.
func reviews(file string) (func() string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("run this in the top folder of the repository: %w", err)
	}
	pod, err := yaml.YAMLToJSON(content)
	if err != nil {
		return nil, err
	}
	uid := regexp.MustCompile(`"kubevirt.io/created-by":"([^"]+)"`).FindSubmatch(pod)
	if uid == nil {
		return nil, fmt.Errorf("%s has no label kubevirt.io/created-by", file)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       "705ab4f5-6393-11e8-b7cc-42010a800002",
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: "vms",
			Operation: admissionv1.Create,
			Object:    runtime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		return nil, err
	}
	parts := strings.Split(string(body), string(uid[1]))
	var number atomic.Int64
	return func() string {
		return strings.Join(parts, fmt.Sprintf("00000000-0000-4000-8000-%012x", number.Add(1)))
	}, nil
}

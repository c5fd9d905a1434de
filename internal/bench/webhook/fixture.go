package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// template is a review in which the uid of the VMI is left out.
type template struct {
	name  string
	parts [][]byte // of the body, around the uid
	made  atomic.Int64
}

// next is the review of another VM's pod: the same VM's again would be one that was refused.
func (t *template) next() []byte { return t.of(t.made.Add(1)) }

// of is the review of the pod of the VM with the number.
func (t *template) of(number int64) []byte {
	return bytes.Join(t.parts, fmt.Appendf(nil, "%08x-0000-4000-8000-%012x", number>>32, number))
}

// largestReview is the creation of the largest pod in the folder that is injected.
func largestReview(folder string) (*template, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var largest []byte
	var name, uid string
	for _, file := range files {
		if strings.HasSuffix(file, ".golden.yaml") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		podJSON, pod, err := inject.ReadPod(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if pod != nil && len(podJSON) > len(largest) && inject.Decide(inject.Default("x"), pod).Injected() {
			largest, name, uid = podJSON, filepath.Base(file), pod.VM().UID
		}
	}
	if largest == nil {
		return nil, fmt.Errorf("no pod to inject in %s: run from the top folder of the repository", folder)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       "705ab4f5-6393-11e8-b7cc-42010a800002",
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: "vms",
			Operation: admissionv1.Create,
			Object:    runtime.RawExtension{Raw: largest},
		},
	})
	return &template{name: name, parts: bytes.Split(body, []byte(uid))}, err
}

// keyPair is a serving certificate in files, and who trusts it.
type keyPair struct {
	name, certFile, keyFile string
	roots                   *x509.CertPool
}

func newKeyPair(dir string) (keyPair, error) {
	k := keyPair{name: "webhook.bench.svc", certFile: filepath.Join(dir, "tls.crt"), keyFile: filepath.Join(dir, "tls.key"), roots: x509.NewCertPool()}
	authority, err := pki.NewCA(k.name, time.Now(), 24*time.Hour)
	if err != nil {
		return k, err
	}
	leaf, err := pki.IssueLeaf(authority, k.name, time.Now(), 24*time.Hour)
	if err != nil {
		return k, err
	}
	k.roots.AddCert(authority.Certificate)
	if err := os.WriteFile(k.certFile, leaf.CertPEM, 0o600); err != nil {
		return k, err
	}
	return k, os.WriteFile(k.keyFile, leaf.KeyPEM, 0o600)
}

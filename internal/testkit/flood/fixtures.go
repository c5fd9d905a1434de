package flood

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/internal/testkit/reviewer"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// beside starts what answers for the API server, and returns how a program finds it.
func (w *World) beside(p *program) (func(...string) ([]string, error), error) {
	account, err := os.MkdirTemp(w.folder, "account-")
	if err != nil {
		return nil, err
	}
	api, err := reviewer.New(filepath.Join(account, "serviceaccount"), slowReview)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, api.Close)
	return api.Mounted, nil
}

// pod makes a kubelet's folder with one pod whose socket answers, and returns the path
// of the pod's page and the folder.
func (w *World) pod(p *program) (path, folder string, err error) {
	if folder, err = os.MkdirTemp(w.folder, "pods-"); err != nil {
		return "", "", err
	}
	pod, err := podtest.Kubelet{Dir: folder}.AddPod()
	if err != nil {
		return "", "", err
	}
	listener, err := pod.Listen()
	if err != nil {
		return "", "", err
	}
	page := []byte("# TYPE kubevirt_vmi_hypervisor_info gauge\n" + strings.Repeat("kubevirt_vmi_hypervisor_info{name=\"vm\"} 1\n", 50))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(page)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	p.closers = append(p.closers, func() {
		_ = server.Close()
		<-done
	})
	return "/pods/" + string(pod.UID) + "/metrics", folder, nil
}

// issue writes a serving certificate.
func (w *World) issue() error {
	const name = "program.flood.svc"
	authority, err := pki.NewCA(name, time.Now(), time.Hour)
	if err != nil {
		return err
	}
	leaf, err := pki.IssueLeaf(authority, name, time.Now(), time.Hour)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(w.folder, "tls.crt"), leaf.CertPEM, 0o600),
		os.WriteFile(filepath.Join(w.folder, "tls.key"), leaf.KeyPEM, 0o600))
}

// review returns what an API server sends for the launcher pod of the VM with the uid.
func (w *World) review() (func(vmi string) string, error) {
	text, err := os.ReadFile(filepath.Join(w.root, "webhook/inject/testdata/masq.yaml"))
	if err != nil {
		return nil, err
	}
	pod, parsed, err := inject.ReadPod(text)
	if err != nil {
		return nil, err
	}
	review, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "flood", Operation: admissionv1.Create, Namespace: "flood",
			Kind:   metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Object: runtime.RawExtension{Raw: pod},
		},
	})
	return func(vmi string) string { return strings.ReplaceAll(string(review), parsed.VM().UID, vmi) }, err
}

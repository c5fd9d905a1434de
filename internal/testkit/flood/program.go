package flood

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/internal/testkit/reviewer"
)

// slowReview is how long the API server takes for a token that it does not know.
const slowReview = 5 * time.Second

// A program runs in a group of its own.
type program struct {
	process *testkit.Process
	group   *memlimit.Group
	limits  memlimit.Limits
	// ports are where attacks go, by name.
	ports map[string]port
	// clients work beside them.
	clients []*client
	// closers are called after the process has ended.
	closers []func()
}

// The functions that start the programs. Each leaves in the program what must be
// stopped, even when it returns an error.

func startSidecarUnix(r *Runner, p *program) error {
	at := port{network: "unix", address: filepath.Join(r.folder, "metrics.sock")}
	return startSidecar(r, p, at, "unix://"+at.address)
}

func startSidecarDirect(r *Runner, p *program) error {
	at, err := freePort(false)
	if err != nil {
		return err
	}
	return startSidecar(r, p, at, at.address)
}

func startSidecar(r *Runner, p *program, at port, listen string) error {
	c, err := injected(r.root)
	if err != nil {
		return err
	}
	c.environment = append(c.environment, "VMI_NAMESPACE=flood", "VMI_NAME=vm", "NODE_NAME=node")
	p.ports = map[string]port{"metrics": at}
	const series = "hypervisor_exporter_"
	p.clients = []*client{
		{name: "scrape", port: at, path: "/metrics", want: series},
		{name: "first scrape", port: at, path: "/metrics", want: series, once: true},
	}
	// libvirt is not there: the page costs the same.
	return r.start(p, c, nil, "sidecar", "--listen-address="+listen, "--libvirt-socket="+filepath.Join(r.folder, "no-libvirt"))
}

func startWebhook(r *Runner, p *program) error {
	c, err := fromManifest(r.root, "manifests/base/deployment.yaml", "webhook")
	if err != nil {
		return err
	}
	admission, err := freePort(true)
	metrics, err2 := freePort(false)
	probes, err3 := freePort(false)
	tls, err4 := r.certificate()
	review, err5 := r.review()
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		return err
	}
	p.ports = map[string]port{"admission": admission, "metrics": metrics, "probes": probes}
	const patched = `"patchType":"JSONPatch"`
	p.clients = append(plainClients(metrics, probes, "/readyz"),
		&client{name: "admission", port: admission, path: "/mutate", body: review, want: patched},
		&client{name: "first admission", port: admission, path: "/mutate", body: review, want: patched, once: true})
	host, securePort, err := net.SplitHostPort(admission.address)
	if err != nil {
		return err
	}
	return r.start(p, c, nil, "webhook", append(tls, "serve", "--sidecar-image=registry.example/sidecar:v1",
		"--bind-address="+host, "--secure-port="+securePort,
		"--metrics-bind-address="+metrics.address, "--health-probe-bind-address="+probes.address)...)
}

// startCerts starts the certificate process beside an API server that refuses everything.
func startCerts(r *Runner, p *program) error {
	c, err := fromManifest(r.root, "manifests/certs/deployment.yaml", "certs")
	if err != nil {
		return err
	}
	metrics, err := freePort(false)
	probes, err2 := freePort(false)
	wrap, err3 := r.apiServer(p)
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	p.ports = map[string]port{"metrics": metrics, "probes": probes}
	p.clients = plainClients(metrics, probes, "/healthz")
	return r.start(p, c, wrap, "webhook", "certs", "--metrics-bind-address="+metrics.address, "--health-probe-bind-address="+probes.address)
}

func plainClients(metrics, probes port, probe string) []*client {
	return []*client{
		{name: "scrape", port: metrics, path: "/metrics", want: "hypervisor_exporter_"},
		{name: "probe", port: probes, path: probe, want: "ok", once: true},
	}
}

func startRelay(r *Runner, p *program) error {
	c, err := fromManifest(r.root, "manifests/relay/daemonset.yaml", "relay")
	if err != nil {
		return err
	}
	at, err := freePort(true)
	tls, err2 := r.certificate()
	path, pods, err3 := r.pod(p)
	wrap, err4 := r.apiServer(p)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return err
	}
	p.ports = map[string]port{"metrics": at}
	token := reviewer.Token()
	p.clients = []*client{
		{name: "scrape", port: at, path: path, token: token},
		{name: "first scrape", port: at, path: path, token: token, once: true},
		{name: "probe", port: at, path: "/healthz", once: true},
		{name: "scrape from the flood's address", port: at, path: path, token: token, from: shared},
	}
	return r.start(p, c, wrap, "relay", append(tls, "--kubelet-pods-dir="+pods, "--listen-address="+at.address)...)
}

// start starts a binary in a group with the container's limits.
func (r *Runner) start(p *program, c container, wrap func(...string) ([]string, error), binary string, args ...string) error {
	path, err := coldCopy(filepath.Join(r.binaries, binary), r.folder)
	if err != nil {
		return err
	}
	p.limits = c.limits
	if p.group, err = memlimit.New(memlimit.Mount, c.limits); err != nil {
		return err
	}
	command := append([]string{path}, args...)
	if wrap != nil {
		if command, err = wrap(command...); err != nil {
			return err
		}
	}
	command = p.group.Command(command...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), c.environment...)
	p.process, err = testkit.Start(filepath.Join(r.folder, binary+".log"), cmd)
	return err
}

// ready waits until each client has had an answer.
func (p *program) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
	defer cancel()
	for _, client := range p.clients {
		for {
			err := client.ask(ctx)
			if err == nil {
				break
			}
			select {
			case <-p.process.Ended():
				return fmt.Errorf("the program has ended: %s", p.process.LogTail())
			case <-ctx.Done():
				return fmt.Errorf("%s: %w: %s", client.name, err, p.process.LogTail())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// stop ends the program and removes its group.
func (p *program) stop() (err error) {
	if p.process != nil {
		p.process.Kill()
	}
	if p.group != nil {
		err = p.group.Remove()
	}
	for _, stop := range p.closers {
		stop()
	}
	return err
}

// coldCopy copies a binary and drops the copy from the page cache: its pages then
// count for the group that runs it, as those of a container's image do.
func coldCopy(from, folder string) (path string, err error) {
	content, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	target, err := os.CreateTemp(folder, "cold-"+filepath.Base(from)+"-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = target.Write(content)
	if err := errors.Join(err, target.Chmod(0o755), target.Sync()); err != nil {
		return "", err
	}
	return target.Name(), unix.Fadvise(int(target.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// freePort returns a port on which nothing listens now.
func freePort(encrypted bool) (port, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return port{}, err
	}
	return port{network: "tcp", address: listener.Addr().String(), encrypted: encrypted}, listener.Close()
}

// apiServer starts what answers for the API server, and returns how a program finds it.
func (r *Runner) apiServer(p *program) (func(...string) ([]string, error), error) {
	account, err := os.MkdirTemp(r.folder, "account-")
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
func (r *Runner) pod(p *program) (path, folder string, err error) {
	if folder, err = os.MkdirTemp(r.folder, "pods-"); err != nil {
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
	page := "# TYPE kubevirt_vmi_hypervisor_info gauge\n" + strings.Repeat("kubevirt_vmi_hypervisor_info{name=\"vm\"} 1\n", 50)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, page)
	})}
	go func() { _ = server.Serve(listener) }()
	p.closers = append(p.closers, func() { _ = server.Close() })
	return "/pods/" + string(pod.UID) + "/metrics", folder, nil
}

// certificate writes a serving certificate and returns the flags that name it.
func (r *Runner) certificate() ([]string, error) {
	const name = "program.flood.svc"
	ca, err := pki.NewCA(name, time.Now(), time.Hour)
	if err != nil {
		return nil, err
	}
	leaf, err := pki.IssueLeaf(ca, name, time.Now(), time.Hour)
	if err != nil {
		return nil, err
	}
	cert, key := filepath.Join(r.folder, "tls.crt"), filepath.Join(r.folder, "tls.key")
	return []string{"--tls-cert-file=" + cert, "--tls-private-key-file=" + key},
		errors.Join(os.WriteFile(cert, leaf.CertPEM, 0o600), os.WriteFile(key, leaf.KeyPEM, 0o600))
}

// review returns what makes the request of an API server for the launcher pod of another VM each time.
func (r *Runner) review() (func() string, error) {
	pod, parsed, err := readLauncherPod(r.root)
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
	vm := []byte(parsed.VM().UID)
	return func() string { return string(bytes.ReplaceAll(review, vm, []byte(uuid.NewUUID()))) }, err
}

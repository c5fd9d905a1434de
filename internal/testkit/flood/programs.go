package flood

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"

	"kubevirt-hypervisor-exporter/internal/testkit/reviewer"
)

// namedWork is work with whose it is.
type namedWork struct {
	name string
	work work
}

// slowReview is how long the API server takes for a token that it does not know.
const slowReview = 5 * time.Second

// The functions that start the programs. Each leaves in the program what must be
// stopped, even when it returns an error.

func startSidecarUnix(w *World, p *program) error {
	socket := filepath.Join(w.folder, "metrics.sock")
	p.ports = map[string]port{"metrics": {network: "unix", address: socket}}
	return startSidecar(w, p, "unix://"+socket)
}

func startSidecarDirect(w *World, p *program) error {
	free, err := freePorts(1)
	if err != nil {
		return err
	}
	address := "127.0.0.1:" + free[0]
	p.ports = map[string]port{"metrics": {network: "tcp", address: address}}
	return startSidecar(w, p, address)
}

func startSidecar(w *World, p *program, listen string) error {
	c, err := injected(w.root)
	if err != nil {
		return err
	}
	c.environment = append(c.environment, "VMI_NAMESPACE=flood", "VMI_NAME=vm", "NODE_NAME=node")
	scrape := func(keep bool) work {
		return request(p.ports["metrics"], newClient(p.ports["metrics"], keep), http.MethodGet, "/metrics", "", "", "hypervisor_exporter_")
	}
	p.works = []namedWork{{"scrape", scrape(true)}, {"first scrape", scrape(false)}}
	// The page is about a VM that libvirt says nothing of: what it costs is the same.
	return w.start(p, c, nil, "sidecar", "--listen-address="+listen, "--libvirt-socket="+filepath.Join(w.folder, "no-libvirt"))
}

func startWebhook(w *World, p *program) error {
	c, err := fromManifest(w.root, "manifests/base/deployment.yaml", "webhook")
	if err != nil {
		return err
	}
	free, err := freePorts(3)
	if err != nil {
		return err
	}
	if err := w.issue(); err != nil {
		return err
	}
	launcherReview, err := w.review()
	if err != nil {
		return err
	}
	at := func(i int) string { return "127.0.0.1:" + free[i] }
	admission := port{network: "tcp", address: at(0), encrypted: true}
	metrics, probes := port{network: "tcp", address: at(1)}, port{network: "tcp", address: at(2)}
	p.ports = map[string]port{"admission": admission, "metrics": metrics, "probes": probes}
	admit := func(keep bool) work {
		client := newClient(admission, keep)
		return func(ctx context.Context) error {
			return request(admission, client, http.MethodPost, "/mutate", "", launcherReview(string(uuid.NewUUID())), `"patchType":"JSONPatch"`)(ctx)
		}
	}
	p.works = []namedWork{{"admission", admit(true)}, {"first admission", admit(false)}, {"admissions of a VM whose pods are refused", refusedVM(admission, launcherReview)}}
	p.works = append(p.works, plainWorks(metrics, probes)...)
	return w.start(p, c, nil, "webhook", "serve", "--sidecar-image=registry.example/sidecar:v1",
		"--bind-address=127.0.0.1", "--secure-port="+free[0], "--metrics-bind-address="+at(1), "--health-probe-bind-address="+at(2),
		"--tls-cert-file="+filepath.Join(w.folder, "tls.crt"), "--tls-private-key-file="+filepath.Join(w.folder, "tls.key"))
}

// startCerts starts the certificate process beside an API server that refuses all.
func startCerts(w *World, p *program) error {
	c, err := fromManifest(w.root, "manifests/certs/deployment.yaml", "certs")
	if err != nil {
		return err
	}
	free, err := freePorts(2)
	if err != nil {
		return err
	}
	wrap, err := w.beside(p)
	if err != nil {
		return err
	}
	metrics, probes := port{network: "tcp", address: "127.0.0.1:" + free[0]}, port{network: "tcp", address: "127.0.0.1:" + free[1]}
	p.ports = map[string]port{"metrics": metrics, "probes": probes}
	alive := request(probes, newClient(probes, false), http.MethodGet, "/healthz", "", "", "ok")
	p.works = []namedWork{{"scrape", request(metrics, newClient(metrics, true), http.MethodGet, "/metrics", "", "", "hypervisor_exporter_")}, {"probe", alive}}
	return w.start(p, c, wrap, "webhook", "certs", "--metrics-bind-address="+metrics.address, "--health-probe-bind-address="+probes.address)
}

func startRelay(w *World, p *program) error {
	c, err := fromManifest(w.root, "manifests/relay/daemonset.yaml", "relay")
	if err != nil {
		return err
	}
	free, err := freePorts(1)
	if err != nil {
		return err
	}
	if err := w.issue(); err != nil {
		return err
	}
	path, pods, err := w.pod(p)
	if err != nil {
		return err
	}
	wrap, err := w.beside(p)
	if err != nil {
		return err
	}
	at := port{network: "tcp", address: "127.0.0.1:" + free[0], encrypted: true}
	p.ports = map[string]port{"metrics": at}
	get := func(keep bool, path, token string) work {
		return request(at, newClient(at, keep), http.MethodGet, path, token, "", "")
	}
	p.works = []namedWork{
		{"scrape", get(true, path, reviewer.Token())},
		{"first scrape", get(false, path, reviewer.Token())},
		{"probe", get(false, "/healthz", "")},
		{"scrape from the flood's address", request(at, newClientFrom(shared, at, true), http.MethodGet, path, reviewer.Token(), "", "")},
	}
	return w.start(p, c, wrap, "relay", "--kubelet-pods-dir="+pods, "--listen-address="+at.address,
		"--tls-cert-file="+filepath.Join(w.folder, "tls.crt"), "--tls-private-key-file="+filepath.Join(w.folder, "tls.key"))
}

func plainWorks(metrics, probes port) []namedWork {
	return []namedWork{
		{"scrape", request(metrics, newClient(metrics, true), http.MethodGet, "/metrics", "", "", "hypervisor_exporter_")},
		{"probe", request(probes, newClient(probes, false), http.MethodGet, "/readyz", "", "", "ok")},
	}
}

// ready waits until all work is done once.
func (p *program) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, n := range p.works {
		for {
			err := n.work(ctx)
			if err == nil {
				break
			}
			select {
			case <-p.process.Ended():
				return fmt.Errorf("the program has ended: %s", p.process.LogTail())
			case <-ctx.Done():
				return fmt.Errorf("%s: %w: %s", n.name, err, p.process.LogTail())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

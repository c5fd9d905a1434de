// Package check is the command check: it follows a metric from KubeVirt to Prometheus and checks each step. What could not
// be checked is never ok.
package check

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Request sets what to check.
type Request struct {
	// Exporter and Relay are the namespaces that webhook and relay are installed in; empty finds them.
	Exporter, Relay string
	// Namespace has the VMs to check, and is where the dry run is done; empty means all VMs, and enabled namespaces with most
	// of them.
	Namespace string
	// Source is asked about each VM whose sidecar runs. If it is nil, none is asked, and NoSource is the reason.
	Source   source.Source
	NoSource string
	// Prometheus is asked what it has loaded; nil if none can be asked.
	Prometheus *source.Server
	Now        time.Time
	// Progress is survey.Request's.
	Progress func(text string)
}

// step is one check. It returns an error if it could not read what it judges; an object that does not exist is no error.
type step struct {
	section string
	// what is read, in the line about such an error.
	what string
	run  func(*run) ([]Line, error)
}

// steps returns the checks, in the order in which a metric passes them.
func steps() []step {
	return []step{
		{"kubernetes", "KubeVirt", (*run).kubeVirt},
		{"installation", "namespaces of the installation", (*run).installation},
		{"installation", "pods with our labels", (*run).strangers},
		{"webhook", "the webhook's registration", ifWebhook((*run).registration)},
		{"webhook", "Deployment " + cluster.Webhook, ifWebhook((*run).replicas)},
		{"webhook", "addresses of Service " + cluster.Webhook, ifWebhook((*run).addresses)},
		{"webhook", "pods of the webhook", ifWebhook((*run).certificates)},
		{"webhook", "Deployment " + cluster.Certs, (*run).certificateProcess},
		{"admission policy", "MutatingAdmissionPolicyBinding " + cluster.Configuration, (*run).policy},
		{"injection", "labels of namespaces", (*run).labels},
		{"injection", "LimitRanges", (*run).limitRanges},
		{"injection", "ResourceQuotas", (*run).quotas},
		{"injection", "injection (dry run)", (*run).dryRuns},
		{"injection", "calls of the webhook that failed", ifWebhook((*run).failOpens)},
		{"images", "images of our pods", (*run).images},
		{"images", "pulls of the sidecar's image", (*run).pulls},
		{"relay", "DaemonSet " + cluster.Relay, (*run).relaySet},
		{"relay", "pods of the relay", (*run).relayPods},
		{"relay", "CA of the relay", (*run).relayCA},
		{"monitoring", "PodMonitors", ifInstalled((*run).monitoring)},
		{"prometheus", "Prometheus (--prometheus-url)", (*run).asked},
		{"vms", "VMs", (*run).vms},
	}
}

// ifWebhook skips a step if there is no webhook: a policy injects, or nothing is installed.
func ifWebhook(step func(*run) ([]Line, error)) func(*run) ([]Line, error) {
	return func(r *run) ([]Line, error) {
		switch {
		case r.placeErr == nil && r.place.Webhook == nil:
			return nil, nil
		case r.request.Exporter == "":
			return nil, r.placeErr
		default:
			return step(r)
		}
	}
}

// ifInstalled skips a step if no namespace of the installation is known.
func ifInstalled(step func(*run) ([]Line, error)) func(*run) ([]Line, error) {
	return func(r *run) ([]Line, error) {
		if r.request.Exporter == "" {
			return nil, r.placeErr
		}
		return step(r)
	}
}

// Run runs the steps one after the other. It calls show with each line.
func Run(ctx context.Context, reader *cluster.Cluster, request Request, show func(Line)) *Report {
	return follow(ctx, reader, request, steps(), show)
}

func follow(ctx context.Context, reader *cluster.Cluster, request Request, steps []step, show func(Line)) *Report {
	r := &run{ctx: ctx, reader: reader, request: request, show: show, config: cluster.DefaultConfig()}
	r.population = sync.OnceValues(r.survey)
	version, err := reader.Version(ctx)
	if err != nil { // every other step would wait for its timeout
		r.add("kubernetes", fail("kubectl cluster-info; --request-timeout sets how long to wait", "the API server does not answer: %s", err))
		return NewReport(r.lines)
	}
	r.version = version
	r.add("kubernetes", ok("the API server answers (%s)", version))
	for _, step := range steps {
		lines, err := step.run(r)
		r.add(step.section, lines...)
		if err != nil {
			r.add(step.section, unread(step.what, err))
		}
	}
	if len(r.denials) > 0 {
		r.add("rights", rightsLines(r.denials, reader.User(ctx))...)
	}
	return NewReport(r.lines)
}

// run is the state of one Run: what a step found and later ones need.
type run struct {
	ctx     context.Context // of one Run; it ends with it
	reader  *cluster.Cluster
	request Request
	show    func(Line)
	lines   []Line
	denials []denial

	// version is the API server's.
	version string
	// place is where the product is installed, and placeErr why that is not known.
	place    cluster.Installation
	placeErr error
	// relayErr is why the relay's namespace is not known.
	relayErr error
	parts    parts
	// byPolicy: the API server injects, without a webhook.
	byPolicy bool
	// config is the webhook's; configRead reports whether it, or at least the policy's image, could be read.
	config     inject.Config
	configRead bool
	// namespaces is nil if they could not be read; namespacesErr is why.
	namespaces    *namespaces
	namespacesErr error
	// registry is that of KubeVirt's images; empty if it could not be read.
	registry string
	// silent: the webhook has no address, or a dry run has no sidecar.
	silent bool
	// ours are the PodMonitors and PrometheusRules; nil if they could not be read, or the cluster has no such objects.
	ours *products
	// population reads the VMs, once; surveyed are they.
	population func() (*population, error)
	surveyed   []survey.VM
}

func (r *run) add(section string, lines ...Line) {
	for _, line := range lines {
		if line.denied != nil {
			r.denials = append(r.denials, *line.denied)
			continue
		}
		line.Section = section
		if line.Hint != "" && line.Link == "" {
			line.Link = pageOf(section).url()
		}
		r.lines = append(r.lines, line)
		r.show(line)
	}
}

// absent reports whether an object, or the API that it belongs to, does not exist.
func absent(err error) bool { return apierrors.IsNotFound(err) }

func (r *run) kubeVirt() ([]Line, error) {
	kubevirt, err := r.reader.KubeVirt(r.ctx)
	if err == nil && kubevirt != nil {
		r.registry = kubevirt.Registry
	}
	switch {
	case absent(err), err == nil && kubevirt == nil:
		return []Line{fail("install KubeVirt: without it there are no VMs", "KubeVirt is not installed")}, nil
	case err != nil:
		return nil, err
	case kubevirt.Phase != "Deployed":
		return []Line{warn("kubectl get kubevirt -A", "KubeVirt is in phase %q, not Deployed", kubevirt.Phase)}, nil
	default:
		return []Line{ok("KubeVirt %s is deployed", kubevirt.Version)}, nil
	}
}

// enabled is what is known about a namespace's label.
func (r *run) enabled(ctx context.Context, namespace string) vm.Enabled {
	if r.namespaces != nil {
		return r.namespaces.is(namespace)
	}
	return r.reader.Enabled(ctx, namespace)
}

// survey reads the VMs.
func (r *run) survey() (*population, error) {
	var notes []Line
	vms, err := survey.List(r.ctx, r.reader, survey.Request{
		Namespace: r.request.Namespace, Config: r.config, Enabled: cluster.Once(r.enabled), Source: r.request.Source,
		Now: r.request.Now, Progress: r.request.Progress,
		Note: func(err error) { notes = append(notes, unread("events of VMs without a sidecar", err)) },
	})
	r.surveyed = vms
	found := newPopulation(vms)
	found.notes = notes
	return found, err
}

func (r *run) vms() ([]Line, error) {
	found, err := r.population()
	if err != nil {
		return nil, err
	}
	return found.lines(r.request.Source, r.request.NoSource, r.byPolicy), nil
}

package check

import (
	"context"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Reader reads the cluster; cluster.Cluster implements it.
type Reader interface {
	Version(ctx context.Context) (string, error)
	KubeVirt(ctx context.Context) (*cluster.KubeVirt, error)
	Configuration(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, error)
	Policy(ctx context.Context) (*admissionv1.MutatingAdmissionPolicy, error)
	PolicyBound(ctx context.Context) (bool, error)
	Deployment(ctx context.Context, namespace, name string) (*appsv1.Deployment, error)
	RelaySet(ctx context.Context, namespace string) (*appsv1.DaemonSet, error)
	RelayLog(ctx context.Context, pod *corev1.Pod) ([]byte, error)
	Node(ctx context.Context, name string) (*corev1.Node, error)
	EachLimitRange(ctx context.Context, namespace string, use func(*corev1.LimitRange)) error
	EachQuota(ctx context.Context, namespace string, use func(*corev1.ResourceQuota)) error
	ReadyAddresses(ctx context.Context, namespace string) (int, error)
	Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error)
	WebhookPage(ctx context.Context, pod *corev1.Pod) ([]byte, error)
	EachNamespace(ctx context.Context, use func(name string, labels map[string]string)) error
	Namespace(ctx context.Context, name string) (map[string]string, error)
	DryRun(ctx context.Context, namespace string) (*corev1.Pod, error)
	PodMonitor(ctx context.Context, namespace string) (labels.Set, error)
	Prometheuses(ctx context.Context) ([]cluster.Prometheus, error)
	survey.Reader
}

// Request says what to check.
type Request struct {
	// Exporter is the namespace that the product is installed in.
	Exporter string
	// Relay is the namespace that the relay is installed in.
	Relay string
	// Namespace has the VMs to check, and is where the dry run is done; empty means all VMs, and the first enabled namespace.
	Namespace string
	// Source is asked about each VM whose sidecar runs; nil means that none can be, and Unasked says why.
	Source  source.Source
	Unasked string
	Now     time.Time
	// Progress shows how far the VMs are.
	Progress survey.Progress
}

// Run checks step by step. It calls tell after each step.
func Run(ctx context.Context, reader Reader, request Request, tell func(Line)) *Report {
	r := &run{ctx: ctx, reader: reader, request: request, tell: tell, config: product.Unread(), silentHint: webhookSilentHint}
	if r.kubernetes() { // otherwise every step would wait for its timeout
		r.webhook()
		r.installation()
		r.injection()
		r.monitoring()
		r.vms()
	}
	return NewReport(r.lines)
}

type run struct {
	ctx     context.Context // of one Run; it ends with it
	reader  Reader
	request Request
	tell    func(Line)
	lines   []Line

	// version is the API server's.
	version string
	config  inject.Config
	// byPolicy says that the API server injects, without a webhook.
	byPolicy bool
	// read says whether config is the webhook's, or at least its image the policy's.
	read bool
	// silentHint is for a dry run without a sidecar.
	silentHint string
	// namespaces is nil if they could not be read.
	namespaces *namespaces
}

func (r *run) add(lines ...Line) {
	for _, line := range lines {
		terminal.Clean(&line)
		r.lines = append(r.lines, line)
		r.tell(line)
	}
}

// kubernetes says whether the API server answers.
func (r *run) kubernetes() bool {
	const s section = "kubernetes"
	version, err := r.reader.Version(r.ctx)
	if err != nil {
		r.add(s.fail("kubectl cluster-info; --request-timeout sets how long to wait", "the API server does not answer: %s", err))
		return false
	}
	r.version = version
	r.add(s.ok("the API server answers (%s)", version))
	switch kubevirt, err := r.reader.KubeVirt(r.ctx); {
	case absent(err), err == nil && kubevirt == nil:
		r.add(s.fail("install KubeVirt: there are no VMs without it", "KubeVirt is not installed"))
	case err != nil:
		r.add(s.unread("KubeVirt", err))
	case kubevirt.Phase != "Deployed":
		r.add(s.warn("kubectl get kubevirt -A", "KubeVirt is in phase %q, not Deployed", kubevirt.Phase))
	default:
		r.add(s.ok("KubeVirt %s is deployed", kubevirt.Version))
	}
	return true
}

func (r *run) webhook() {
	const s = webhookSection
	switch configuration, err := r.reader.Configuration(r.ctx); {
	case absent(err):
		if r.policy() {
			return
		}
		r.add(s.fail(installHint, "MutatingWebhookConfiguration %s does not exist: no VM gets a sidecar", product.Configuration))
	case err != nil:
		r.add(s.unread("MutatingWebhookConfiguration "+product.Configuration, err))
	default:
		r.add(configurationLines(configuration, r.request.Now)...)
	}
	r.replicas()
	switch ready, err := r.reader.ReadyAddresses(r.ctx, r.request.Exporter); {
	case err != nil:
		r.add(s.unread("addresses of Service "+product.Webhook, err))
	default:
		r.add(addressLine(ready))
	}
	r.certificates()
}

func (r *run) replicas() {
	const s = webhookSection
	deployment, err := r.reader.Deployment(r.ctx, r.request.Exporter, product.Webhook)
	switch {
	case absent(err):
		r.add(s.fail(installHint, "Deployment %s is not in the namespace %s", product.Webhook, r.request.Exporter))
		return
	case err != nil:
		r.add(s.unread("Deployment "+product.Webhook, err))
		return
	}
	r.add(deploymentLines(deployment)...)
	r.add(failureLine(s, deployment)...)
	config, err := product.ConfigOf(deployment)
	if err != nil {
		r.add(s.warn(installHint, "%s", err))
		return
	}
	r.config, r.read = config, true
	ours := &deployment.Spec.Template.Spec
	r.add(imageLine(s, config.Image, pulled(ours), "the webhook's pods")...)
	r.add(secretLine(r.version, secretNames(ours), config)...)
}

func (r *run) certificates() {
	const s = webhookSection
	pods, err := r.reader.Pods(r.ctx, r.request.Exporter, product.WebhookSelector)
	if err != nil {
		r.add(s.unread("pods of the webhook", err))
		return
	}
	for i := range pods {
		if !isReady(&pods[i]) {
			continue // the line of the replicas says so
		}
		page, err := r.reader.WebhookPage(r.ctx, &pods[i])
		if err != nil {
			r.add(s.unread("certificate of pod "+pods[i].Name, err))
			continue
		}
		r.add(servingLine(pods[i].Name, page, r.request.Now))
	}
}

func (r *run) injection() {
	const s = injectionSection
	found := &namespaces{all: map[string]bool{}}
	if err := r.reader.EachNamespace(r.ctx, found.add); err != nil {
		r.add(s.unread("labels of namespaces", err))
	} else {
		r.namespaces = found
		r.add(namespaceLines(*found)...)
		r.limits()
	}
	r.dryRun(found)
}

func (r *run) dryRun(found *namespaces) {
	const s = injectionSection
	namespace := dryRunIn(r.request.Namespace, found.enabled)
	if namespace == "" {
		r.add(s.warn("name one with -n", "no namespace to try the injection in"))
		return
	}
	if r.namespaces != nil && !found.all[namespace] {
		r.add(s.fail("kubectl get namespaces", "there is no namespace %s", namespace))
		return
	}
	if r.enabled(r.ctx, namespace) == vm.EnabledNo {
		r.add(s.warn("kubectl label namespace "+namespace+" "+inject.AnnotationInject+"=enabled",
			"the namespace %s is not labelled for sidecars, so the injection was not tried", namespace))
		return
	}
	pod, err := r.reader.DryRun(r.ctx, namespace)
	switch {
	case cluster.IsDenied(err):
		r.add(s.unread("injection in the namespace "+namespace+" (dry run)", err))
	case err != nil:
		r.add(refusedLine(namespace, err))
	default:
		want := inject.Config{}
		if r.read {
			want = r.config
		}
		r.add(admittedLine(namespace, pod, want, r.silentHint))
	}
}

// enabled is what is known about a namespace's label.
func (r *run) enabled(ctx context.Context, namespace string) vm.Enabled {
	if r.namespaces != nil {
		return r.namespaces.is(namespace)
	}
	labels, err := r.reader.Namespace(ctx, namespace)
	if err != nil {
		return vm.EnabledUnknown
	}
	return vm.EnabledBy(labels)
}

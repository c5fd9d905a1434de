package check

import (
	"cmp"
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// part is an object of the installation, or why it could not be read; neither if it does not exist.
type part[T any] struct {
	object *T
	err    error
}

func read[T any](ctx context.Context, get func(context.Context, string, metav1.GetOptions) (*T, error), name string) part[T] {
	object, err := cluster.Get(ctx, get, name)
	if absent(err) {
		err = nil
	}
	return part[T]{object, err}
}

// parts are what the product consists of.
type parts struct {
	webhook, certs part[appsv1.Deployment]
	relay          part[appsv1.DaemonSet]
}

// installation finds the product and reads its parts.
func (r *run) installation() ([]Line, error) {
	r.place, r.placeErr = r.reader.Installation(r.ctx)
	r.byPolicy = r.place.Webhook == nil && r.place.Policy != nil
	r.request.Exporter = cmp.Or(r.request.Exporter, r.place.Exporter)
	if r.placeErr == nil && r.place.Webhook == nil && r.place.Policy == nil {
		return []Line{fail("install it, or apply the manifests again", "MutatingWebhookConfiguration %s does not exist, nor a policy in its place: no VM gets a sidecar",
			cluster.Configuration)}, nil
	}
	if r.request.Exporter == "" {
		r.relayErr = r.placeErr
		return nil, r.placeErr
	}
	deployments := r.reader.AppsV1().Deployments(r.request.Exporter).Get
	r.parts.webhook, r.parts.certs = read(r.ctx, deployments, cluster.Webhook), read(r.ctx, deployments, cluster.Certs)
	lines := r.readConfig()
	if !r.configRead || r.config.Exposure == inject.Unix {
		r.findRelay()
	}
	if r.placeErr == nil {
		lines = append([]Line{ok("%s", r.variant())}, lines...)
	}
	return lines, r.placeErr
}

// readConfig reads what is injected.
func (r *run) readConfig() []Line {
	if r.byPolicy {
		r.config.Image, r.configRead = policyImage(r.place.Policy), true
		return nil
	}
	if r.parts.webhook.object == nil {
		return nil
	}
	config, err := cluster.ConfigOf(r.parts.webhook.object)
	if err != nil {
		return []Line{fail("correct the argument and apply again; until then no new pod of the webhook starts", "%s", err).see(pageInstall)}
	}
	r.config, r.configRead = config, true
	return nil
}

func (r *run) findRelay() {
	if r.request.Relay == "" {
		if r.request.Relay, r.relayErr = r.reader.RelayNamespace(r.ctx, r.place); r.request.Relay == "" {
			return
		}
	}
	r.parts.relay = read(r.ctx, r.reader.AppsV1().DaemonSets(r.request.Relay).Get, cluster.Relay)
}

// variant says how the product is installed, as far as that could be read.
func (r *run) variant() string {
	registration, what := registeredBy(r.place), "webhook"
	if r.byPolicy {
		what = "admission policy, no webhook"
	}
	words := []string{what + " (" + installer(registration) + ", namespace " + r.request.Exporter + ")"}
	if relay := r.parts.relay.object; relay != nil {
		way := "host port"
		if relay.Spec.Template.Spec.HostNetwork {
			way = "host network"
		}
		words = append(words, "relay ("+way+", namespace "+relay.Namespace+")")
	} else if r.configRead && r.config.Exposure == inject.Direct {
		words = append(words, "no relay (exposure direct)")
	}
	switch {
	case r.parts.certs.object != nil:
		words = append(words, "certificates of its own")
	case registration.Annotations["cert-manager.io/inject-ca-from"] != "":
		words = append(words, "certificates of cert-manager")
	}
	return "installed: " + strings.Join(words, ", ")
}

func registeredBy(place cluster.Installation) metav1.ObjectMeta {
	if place.Webhook != nil {
		return place.Webhook.ObjectMeta
	}
	if place.Policy != nil {
		return place.Policy.ObjectMeta
	}
	return metav1.ObjectMeta{}
}

// installer is Helm if its labels are there (charts, _names.tpl: releaseLabels).
func installer(object metav1.ObjectMeta) string {
	if object.Labels["app.kubernetes.io/managed-by"] == "Helm" {
		return "Helm release " + object.Labels["app.kubernetes.io/instance"]
	}
	return "manifests"
}

// strangers warns of pods with our labels outside of the installation.
func (r *run) strangers() ([]Line, error) {
	homes, err := r.reader.Homes(r.ctx)
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(homes, func(name string) bool { return name == r.request.Exporter || name == r.request.Relay })
	if len(others) == 0 || r.placeErr != nil || r.relayErr != nil {
		return nil, nil
	}
	return []Line{warn("remove one of them: a cluster has one installation",
		"pods with the labels of this product run outside of the installation: a second one, or what is left of one").see(pageNamespaces).about(others)}, nil
}

// refusedDeployment returns why no pod of a Deployment can be created; nothing if it can.
func refusedDeployment(deployment *appsv1.Deployment) []Line {
	at := slices.IndexFunc(deployment.Status.Conditions, func(c appsv1.DeploymentCondition) bool {
		return c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue
	})
	if at < 0 {
		return nil
	}
	message := deployment.Status.Conditions[at].Message
	return []Line{fail(refusedHint(message), "pods of Deployment %s are refused: %s", deployment.Name, vm.Brief(message)).see(pagePriority)}
}

// refusedSet returns for how many nodes no pod of the relay can be created, and why: by the newest of the events.
func refusedSet(set *appsv1.DaemonSet, events []corev1.Event) []Line {
	lacking := int(set.Status.DesiredNumberScheduled - set.Status.CurrentNumberScheduled)
	if lacking <= 0 {
		return nil
	}
	newest, last := "", set.CreationTimestamp.Time
	for i := range events {
		event := &events[i]
		if event.InvolvedObject.Name == set.Name && !vm.LastSeen(event).Before(last) {
			last, newest = vm.LastSeen(event), event.Message
		}
	}
	nodes := survey.Count(lacking, "node has", "nodes have")
	if newest == "" {
		return []Line{fail("kubectl -n "+set.Namespace+" describe daemonset "+set.Name, "%s no pod of the relay", nodes)}
	}
	return []Line{fail(refusedHint(newest), "%s no pod of the relay: %s", nodes, vm.Brief(newest))}
}

// refusedHint: a quota with the scope PriorityClass is what GKE, and clusters with limitedResources, refuse for.
func refusedHint(message string) string {
	if strings.Contains(message, "insufficient quota to match these scopes") {
		return "create a ResourceQuota for the priority class in the namespace"
	}
	return "change the quota, policy or webhook that refuses these pods, so that it admits them"
}

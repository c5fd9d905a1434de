package check

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// What of the installation can keep pods from starting: VMs' pods by a wrong image, and our own if they are refused.

// pulled returns the image that pods of ours have pulled for VMs: their own, or, up to v0.1.0, that of an init container.
// It is empty if they have no container.
func pulled(spec *corev1.PodSpec) string {
	for i := range spec.InitContainers {
		if spec.InitContainers[i].Name == "sidecar-image" {
			return spec.InitContainers[i].Image
		}
	}
	if len(spec.Containers) == 0 {
		return ""
	}
	return spec.Containers[0].Image
}

// imageLine compares the image that is injected with the one that pods of ours have pulled; whose are these pods. It
// returns nothing if one of them is not known.
func imageLine(injected, pulled, whose string) []Line {
	if injected == "" || pulled == "" || injected == pulled {
		return nil
	}
	return []Line{fail("set one image for both (docs/install.md) and apply again: an images: list in a kustomization.yaml around ours changes pods only",
		"VMs get the sidecar image %s, but %s pull %s: if VMs cannot pull theirs, they do not start", injected, whose, pulled)}
}

// secretLine: our pods pull with a Secret, and the webhook's flag for the VMs' pods is not set; an empty flag means that they
// need none. From 1.35 on, a kubelet refuses an image that was pulled with a Secret to a pod without one (feature gate
// KubeletEnsureSecretPulledImages), though it is on the node; with the pull policy Always, every kubelet asks the registry.
func secretLine(server string, secrets []corev1.LocalObjectReference, config inject.Config) []Line {
	if len(secrets) == 0 || config.PullSecrets != nil {
		return nil
	}
	since := "from Kubernetes 1.35 on, a kubelet refuses that image to a VM's pod without the Secret"
	if config.ImagePullPolicy == corev1.PullAlways {
		since = "with the pull policy Always, the registry refuses that image to a VM's pod without the Secret"
	} else if running, err := version.ParseGeneric(server); err != nil || running.LessThan(version.MajorMinor(1, 35)) {
		return nil
	}
	var ours []string
	for _, one := range secrets {
		ours = append(ours, one.Name)
	}
	names := strings.Join(ours, ",")
	return []Line{fail("set the webhook's flag --sidecar-image-pull-secrets="+names+", and give the VMs' pods one of these Secrets (docs/install.md); "+
		"or let anyone pull the image, and set the flag to an empty list",
		"our pods pull with a Secret (%s), but the webhook has no --sidecar-image-pull-secrets: %s", names, since)}
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
	return []Line{fail(refusedHint(message), "pods of Deployment %s are refused: %s", deployment.Name, vm.Brief(message))}
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
		return "create a ResourceQuota for the priority class in the namespace: docs/install.md"
	}
	return "change the quota, policy or webhook that refuses these pods, so that it admits them"
}

package check

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// What of the installation can keep pods from starting: of VMs by a wrong image, and our own by a refusal.

// pulled is the sidecar's image that pods of ours pull before a VM's does; empty if they pull none.
func pulled(spec *corev1.PodSpec) string {
	for i := range spec.InitContainers {
		if spec.InitContainers[i].Name == "sidecar-image" {
			return spec.InitContainers[i].Image
		}
	}
	return ""
}

// imageLine compares the image that is injected with the one that pods of ours have pulled; who are these pods. It
// returns nothing if one of them is not known.
func imageLine(s section, injected, pulled, who string) []Line {
	if injected == "" || pulled == "" || injected == pulled {
		return nil
	}
	return []Line{s.fail("set one image for both, as docs/install.md shows, and apply again: an images: list in a kustomization.yaml around ours changes pods only",
		"VMs get the sidecar %s, but %s pull %s: if the first one cannot be pulled, no VM with it starts", injected, who, pulled)}
}

// secretLine: our pods pull with a Secret, and the webhook was not told whether VMs' pods need one for the sidecar's image; an
// empty flag says that they need none. From 1.35 on, a kubelet refuses an image that was pulled with a Secret to a pod without
// one (feature gate KubeletEnsureSecretPulledImages), though it is on the node; with the pull policy Always, every kubelet
// asks the registry.
func secretLine(server string, ours []string, config inject.Config) []Line {
	if len(ours) == 0 || config.PullSecrets != nil {
		return nil
	}
	since := "from Kubernetes 1.35 on, a kubelet refuses that image to a VM's pod without the Secret"
	if config.ImagePullPolicy == corev1.PullAlways {
		since = "with the pull policy Always, the registry refuses that image to a VM's pod without the Secret"
	} else if running, err := version.ParseGeneric(server); err != nil || running.LessThan(version.MajorMinor(1, 35)) {
		return nil
	}
	return []Line{webhookSection.fail("pass the webhook --sidecar-image-pull-secrets="+strings.Join(ours, ",")+", and give the VMs' pods one of them (docs/install.md); or let anyone pull the image, and pass an empty list",
		"our pods pull with a Secret (%s), and the webhook was not told: %s", strings.Join(ours, ", "), since)}
}

func secretNames(spec *corev1.PodSpec) []string {
	var names []string
	for _, one := range spec.ImagePullSecrets {
		names = append(names, one.Name)
	}
	return names
}

// failureLine says why no pod of a Deployment can be created; nothing if that is not so.
func failureLine(s section, deployment *appsv1.Deployment) []Line {
	at := slices.IndexFunc(deployment.Status.Conditions, func(c appsv1.DeploymentCondition) bool {
		return c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue
	})
	if at < 0 {
		return nil
	}
	message := deployment.Status.Conditions[at].Message
	return []Line{s.fail(refusedHint(message), "pods of Deployment %s are refused: %s", deployment.Name, vm.Brief(message))}
}

// setLines say for how many nodes no pod of the relay can be created, and why: by the newest of the events.
func setLines(set *appsv1.DaemonSet, events []corev1.Event) []Line {
	const s = relaySection
	lacking := set.Status.DesiredNumberScheduled - set.Status.CurrentNumberScheduled
	if lacking <= 0 {
		return nil
	}
	newest := ""
	last := set.CreationTimestamp.Time
	for i := range events {
		event := &events[i]
		if event.InvolvedObject.Name == set.Name && !vm.LastSeen(event).Before(last) {
			last, newest = vm.LastSeen(event), event.Message
		}
	}
	nodes := fmt.Sprintf("%d nodes have", lacking)
	if lacking == 1 {
		nodes = "1 node has"
	}
	if newest == "" {
		return []Line{s.fail("kubectl -n "+set.Namespace+" describe daemonset "+set.Name, "%s no pod of the relay", nodes)}
	}
	return []Line{s.fail(refusedHint(newest), "%s no pod of the relay; its events say: %s", nodes, vm.Brief(newest))}
}

// refusedHint: a quota with the scope PriorityClass is what GKE, and clusters with limitedResources, refuse for.
func refusedHint(message string) string {
	if strings.Contains(message, "insufficient quota to match these scopes") {
		return "the cluster admits that priority class only where a ResourceQuota for it is in the namespace: docs/install.md"
	}
	return "let what refuses the pods admit them"
}

// folderMark is what the relay's message about its kubelet's folder begins with (relay/kubeletfolder.go).
const folderMark = "--kubelet-pods-dir="

// folderTrouble is the flag with the folder in which a relay does not find its pod, by its log; empty if it found it.
func folderTrouble(log []byte) string {
	lines := strings.Split(string(log), "\n")
	slices.Reverse(lines)
	for _, line := range lines {
		if strings.Contains(line, "the kubelet's folder of pods can be used now") {
			return ""
		}
		if _, text, found := strings.Cut(line, folderMark); found && strings.Contains(line, "not ready") {
			if folder, _, whole := strings.Cut(text, " is not where "); whole {
				return vm.Brief(folderMark + folder)
			}
		}
	}
	return ""
}

// installation checks the Deployment of the certificate process, if there is one.
func (r *run) installation() {
	deployment, err := r.reader.Deployment(r.ctx, r.request.Exporter, product.Certs)
	switch {
	case absent(err): // cert-manager, or the policy without a relay
	case err != nil:
		r.add(webhookSection.unread("Deployment "+product.Certs, err))
	default:
		r.add(failureLine(webhookSection, deployment)...)
	}
}

package check

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// images compares the image that is injected with those that our pods have pulled.
func (r *run) images() ([]Line, error) {
	if !r.configRead {
		return nil, nil
	}
	var lines []Line
	if deployment := r.parts.webhook.object; deployment != nil {
		lines = append(lines, imageLine(r.config.Image, pulled(&deployment.Spec.Template.Spec), "the webhook's pods")...)
		lines = append(lines, secretLine(r.version, deployment.Spec.Template.Spec.ImagePullSecrets, r.config)...)
	}
	if set := r.parts.relay.object; set != nil {
		lines = append(lines, imageLine(r.config.Image, pulled(&set.Spec.Template.Spec), "the relay's pods")...)
	}
	if compared := r.parts.webhook.object != nil || r.parts.relay.object != nil; compared && len(lines) == 0 && r.config.Image != "" {
		lines = append(lines, ok("VMs get the image that our own pods run: %s", r.config.Image))
	}
	return lines, nil
}

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
	return []Line{fail("set one image for both and apply again: an images: list in a kustomization.yaml around ours changes pods only",
		"VMs get the sidecar image %s, but %s pull %s: if VMs cannot pull theirs, they do not start", injected, whose, pulled).see(pageImage)}
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
	return []Line{fail("set the webhook's flag --sidecar-image-pull-secrets="+names+", and give the VMs' pods one of these Secrets; "+
		"or let anyone pull the image, and set the flag to an empty list",
		"our pods pull with a Secret (%s), but the webhook has no --sidecar-image-pull-secrets: %s", names, since).see(pagePullSecrets)}
}

// pullReasons are the kubelet's (pkg/kubelet/images/types.go and the CRI's errors).
func pullReasons() []string {
	return []string{
		"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
		"SignatureValidationFailed",
	}
}

// pulls names VMs that wait for the sidecar's image: they do not start.
func (r *run) pulls() ([]Line, error) {
	if _, err := r.population(); err != nil {
		return nil, nil // the step of the VMs reports it
	}
	var waiting []string
	var first *vm.Launcher
	for i := range r.surveyed {
		launcher := r.surveyed[i].Launcher
		if launcher == nil || launcher.Sidecar.State != vm.Failing || !slices.Contains(pullReasons(), launcher.Sidecar.Detail) {
			continue
		}
		if first == nil {
			first = launcher
		}
		waiting = append(waiting, r.surveyed[i].VMI.Key().String())
	}
	if first == nil {
		return nil, nil
	}
	pod, secret, err := r.reader.WaitingPod(r.ctx, first.Namespace, first.Name)
	if err != nil {
		return nil, err
	}
	return []Line{pullLine(waiting, because(pullMessage(pod)), secret)}, nil
}

func pullLine(waiting []string, why, secret string) Line {
	hint, where := "check the image's name and the registry; VMs that start get it from the webhook's --sidecar-image", pageImage
	if secret != "" {
		hint, where = "create the Secret in the VM's namespace: "+vm.Brief(secret), pagePullSecrets
	}
	return fail(hint, "%s for the sidecar's image, and cannot start%s", survey.Count(len(waiting), "VM waits", "VMs wait"), why).see(where).about(waiting)
}

// pullMessage is the kubelet's; empty if there is none.
func pullMessage(pod *corev1.Pod) string {
	if pod == nil {
		return ""
	}
	for _, status := range pod.Status.InitContainerStatuses {
		if status.Name == inject.ContainerName && status.State.Waiting != nil {
			return vm.Brief(status.State.Waiting.Message)
		}
	}
	return ""
}

package check

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

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

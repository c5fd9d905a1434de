package inject

import (
	"strings"

	metavalidation "k8s.io/apimachinery/pkg/util/validation"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// vmiName is the name of the VMI that the pod runs: that of its controller reference, which
// KubeVirt writes. The annotation kubevirt.io/domain does not count: the VM's owner can set
// it in the VM's template (KubeVirt template.go copies the VMI's annotations over its own).
//
// It returns false for a pod without such a reference. Webhooks see a pod before the API
// server validates it, so the name is checked here: it must be a DNS subdomain.
func vmiName(pod *Pod) (string, bool) {
	for i := range pod.OwnerReferences {
		// The first controller is the one that Prometheus takes, too. The API server
		// rejects a pod with two.
		if owner := &pod.OwnerReferences[i]; owner.Controller != nil && *owner.Controller {
			return owner.Name, isVMI(owner) && len(metavalidation.IsDNS1123Subdomain(owner.Name)) == 0
		}
	}
	return "", false
}

func isVMI(owner *OwnerReference) bool {
	group, version, _ := strings.Cut(owner.APIVersion, "/")
	return group == groupKubeVirt && version != "" && !strings.Contains(version, "/") && owner.Kind == contract.VMIKind
}

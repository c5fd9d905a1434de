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
	owner := controller(pod)
	if owner == nil {
		return "", false
	}
	return owner.Name, isVMI(owner) && len(metavalidation.IsDNS1123Subdomain(owner.Name)) == 0
}

// controller is the pod's controller reference, or nil.
func controller(pod *Pod) *OwnerReference {
	for i := range pod.OwnerReferences {
		// The first controller is the one that Prometheus takes, too. The API server
		// rejects a pod with two.
		if owner := &pod.OwnerReferences[i]; owner.Controller != nil && *owner.Controller {
			return owner
		}
	}
	return nil
}

// VM is what a pod that is injected says of its VM.
type VM struct {
	// Name and UID are those of the VMI in the controller reference.
	Name, UID string
	// Migration is the uid of the migration whose target the pod is; empty for a VM's first pod (KubeVirt
	// migration.go, createTargetPod).
	Migration string
}

// VM returns what the pod says of its VM. It is empty for a pod without a controller.
func (p *Pod) VM() VM {
	owner := controller(p)
	if owner == nil {
		return VM{}
	}
	return VM{Name: owner.Name, UID: owner.UID, Migration: p.Labels[labelMigration]}
}

func isVMI(owner *OwnerReference) bool {
	group, version, _ := strings.Cut(owner.APIVersion, "/")
	return group == groupKubeVirt && version != "" && !strings.Contains(version, "/") && owner.Kind == contract.VMIKind
}

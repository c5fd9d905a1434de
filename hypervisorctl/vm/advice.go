package vm

import (
	"cmp"
	"strings"
)

// Owner is the object that controls a VMI; empty if none does, and nothing starts the VMI again once it is gone.
type Owner struct{ Kind, Name string }

// The kinds that KubeVirt makes VMIs for.
const (
	virtualMachine = "VirtualMachine"
	replicaSet     = "VirtualMachineInstanceReplicaSet"
)

// Migratable is KubeVirt's condition LiveMigratable.
type Migratable int

// The values of Migratable. Without the condition, nothing is known.
const (
	MigratableUnknown Migratable = iota
	MigratableYes
	MigratableNo
)

// Fit puts the commands that work for the VMI in place of the words of a text:
//
//	RESTART  gives the VM a new pod and a new domain; the guest restarts
//	NEWPOD   gives it a new pod: a migration if the VM can migrate, so that the guest goes on, otherwise as RESTART
//	KILL     ends a VM whose QEMU does not answer, and starts it again
//
// NAME and NAMESPACE stay, so that a text fits all VMs that need the same command.
//
// KubeVirt 1.6 to 1.9, virt-api/rest/lifecycle.go: restart, stop and migrate look up a VirtualMachine of the name first, so
// virtctl fails for any other VMI. migration-create-admitter.go: a migration is refused if LiveMigratable is False.
func (v VMI) Fit(text string) string {
	return strings.NewReplacer("NEWPOD", v.newPod(), "RESTART", v.restart(), "KILL", v.kill()).Replace(text)
}

func (v VMI) newPod() string {
	switch {
	case v.Migratable != MigratableYes:
		return v.restart()
	case v.Owner.Kind == virtualMachine:
		return "virtctl migrate NAME -n NAMESPACE"
	default:
		return `echo '{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineInstanceMigration","metadata":{"generateName":"migrate-"},` +
			`"spec":{"vmiName":"NAME"}}' | kubectl create -n NAMESPACE -f -`
	}
}

func (v VMI) restart() string {
	switch v.Owner.Kind {
	case virtualMachine:
		return "virtctl restart NAME -n NAMESPACE"
	case replicaSet:
		return "kubectl delete vmi NAME -n NAMESPACE (its VirtualMachineInstanceReplicaSet creates another)"
	default:
		return "delete the VMI NAME in NAMESPACE and create it again (no VirtualMachine owns it, so nothing restarts it)"
	}
}

// kill: with a grace period of 0, virt-launcher does not wait for the guest (virtctl stop sets the VMI's
// terminationGracePeriodSeconds).
func (v VMI) kill() string {
	if v.Owner.Kind == virtualMachine {
		return "virtctl stop NAME -n NAMESPACE --force --grace-period=0, then virtctl start NAME -n NAMESPACE"
	}
	return v.restart()
}

// Named puts the names of the VMI and its pod, and the device that it needs, in place of NAME, NAMESPACE, POD and DEVICE.
func (v VMI) Named(text string, launcher *Launcher) string {
	pod, hypervisor := "POD", ""
	if launcher != nil {
		pod, hypervisor = launcher.Name, launcher.Options.Hypervisor
	}
	return strings.NewReplacer("NAMESPACE", v.Namespace, "NAME", v.Name, "POD", pod, "DEVICE", Device(hypervisor)).Replace(text)
}

// Advice is the text for this one VMI.
func (v VMI) Advice(text string, launcher *Launcher) string { return v.Named(v.Fit(text), launcher) }

// Ownership says what controls the VMI, and whether it can migrate.
func (v VMI) Ownership() string {
	owner := "no owner"
	if v.Owner.Kind != "" {
		owner = "owned by " + v.Owner.Kind + " " + v.Owner.Name
	}
	switch v.Migratable {
	case MigratableYes:
		return owner + ", live-migratable"
	case MigratableNo:
		return owner + ", not live-migratable (" + cmp.Or(v.NotMigratable, "no reason given") + ")"
	default:
		return owner
	}
}

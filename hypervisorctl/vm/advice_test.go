package vm

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// object is a VMI as KubeVirt writes it.
func object(owner *metav1.OwnerReference, conditions ...condition) *Object {
	vmi := &Object{}
	vmi.Metadata.Namespace, vmi.Metadata.Name = "shop", "web"
	vmi.Status.Phase, vmi.Status.Conditions = Running, conditions
	if owner != nil {
		vmi.Metadata.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return vmi
}

func has(kind, status string) condition {
	return condition{Type: kind, Status: status, Reason: "DisksNotLiveMigratable", Message: "a message"}
}

// A command is printed only for a VM for which KubeVirt accepts it.
func TestAdviceFitsTheVM(t *testing.T) {
	yes, no := true, false
	ownedBy := func(kind string) *metav1.OwnerReference {
		return &metav1.OwnerReference{APIVersion: "kubevirt.io/v1", Kind: kind, Name: "web", Controller: &yes}
	}
	const (
		migrate  = "virtctl migrate web -n shop"
		create   = `echo '{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineInstanceMigration","metadata":{"generateName":"migrate-"},"spec":{"vmiName":"web"}}' | kubectl create -n shop -f -`
		restart  = "virtctl restart web -n shop"
		again    = "delete the VMI web in shop and create it again (no VirtualMachine owns it, so nothing restarts it)"
		replaced = "kubectl delete vmi web -n shop (its VirtualMachineInstanceReplicaSet creates another)"
		kill     = "virtctl stop web -n shop --force --grace-period=0, then virtctl start web -n shop"
	)
	can, cannot, unknown := has("LiveMigratable", "True"), has("LiveMigratable", "False"), has("LiveMigratable", "Unknown")
	tests := map[string]struct {
		vmi                   *Object
		newPod, restart, kill string
		ownership             string
	}{
		"a VM that can migrate":      {object(ownedBy("VirtualMachine"), can), migrate, restart, kill, "owned by VirtualMachine web, live-migratable"},
		"a VM that cannot":           {object(ownedBy("VirtualMachine"), cannot), restart, restart, kill, "owned by VirtualMachine web, not live-migratable (DisksNotLiveMigratable)"},
		"a VM, not known":            {object(ownedBy("VirtualMachine")), restart, restart, kill, "owned by VirtualMachine web"},
		"a VM, unknown":              {object(ownedBy("VirtualMachine"), unknown), restart, restart, kill, "owned by VirtualMachine web"},
		"a bare VMI that can":        {object(nil, can), create, again, again, "no owner, live-migratable"},
		"a bare VMI that cannot":     {object(nil, cannot), again, again, again, "no owner, not live-migratable (DisksNotLiveMigratable)"},
		"of a ReplicaSet":            {object(ownedBy("VirtualMachineInstanceReplicaSet"), can), create, replaced, replaced, "owned by VirtualMachineInstanceReplicaSet web, live-migratable"},
		"an owner, no controller":    {object(&metav1.OwnerReference{APIVersion: "kubevirt.io/v1", Kind: "VirtualMachine", Name: "web", Controller: &no}), again, again, again, "no owner"},
		"a VirtualMachine of others": {object(&metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "VirtualMachine", Name: "web", Controller: &yes}), again, again, again, "no owner"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			vmi := FromObject(test.vmi)
			require.Equal(t, test.newPod, vmi.Advice("NEWPOD", nil))
			require.Equal(t, test.restart, vmi.Advice("RESTART", nil))
			require.Equal(t, test.kill, vmi.Advice("KILL", nil))
			require.Equal(t, test.ownership, vmi.Ownership())
		})
	}
}

func TestAdviceNamesThePod(t *testing.T) {
	vmi := VMI{Namespace: "shop", Name: "NAMESPACE"} // not a name that can exist: what was put in is not replaced
	require.Equal(t, "NAMESPACE shop POD devices.kubevirt.io/kvm", vmi.Advice("NAME NAMESPACE POD DEVICE", nil))
	require.Equal(t, "launcher devices.kubevirt.io/mshv", vmi.Advice("POD DEVICE", &Launcher{Name: "launcher", Options: LauncherOptions{Hypervisor: "hyperv-direct"}}))
}

// The conditions and fields of a VMI that explain reads; each is absent where KubeVirt does not set it.
func TestWhatExplainReads(t *testing.T) {
	vmi := object(nil, has("Paused", "True"), has("PodScheduled", "False"), has("SoftwareEmulation", "True"), has("HardwareEmulation", "False"))
	vmi.Metadata.Labels = map[string]string{"kubevirt.io/outdatedLauncherImage": ""}
	vmi.Status.GuestOSInfo.Name = "Microsoft Windows"
	got := FromObject(vmi)
	require.Equal(t, VMI{
		Namespace: "shop", Name: "web", Phase: Running, Paused: "DisksNotLiveMigratable", Unschedulable: "a message",
		SoftwareEmulation: true, GuestOS: "Microsoft Windows", Outdated: true,
	}, got)
	require.Equal(t, VMI{Namespace: "shop", Name: "web", Phase: Running},
		FromObject(object(nil, has("Paused", "False"), has("PodScheduled", "True"))))
}

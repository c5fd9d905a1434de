package checks

import (
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

// A VM whose disk's storage is lost executes nothing, though KubeVirt shows it as Running. It is reported, with libvirt's reason,
// and no longer when the storage is back: KubeVirt resumes the VM by itself.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	f := connect(t)
	repair := f.lostDisk()
	v := vm{namespace: labelled, name: "disk-fails", claim: "lost"}
	f.start(v)
	alert := vmLabels(v, f.pod(v), "")
	alert["reason"] = "ioerror"
	f.awaitAlert("VirtualMachinePausedByError", alert)
	require.NoError(t, f.isIn(v, "Running"))
	require.Equal(t, "kvm", f.awaitInfo(v).Metric["hypervisor_type"])
	repair()
	f.awaitSeries("%s", v.series("kubevirt_vmi_hypervisor_state_info", `state="running"`))
	f.awaitResolved("VirtualMachinePausedByError", alert)
}

// lostDisk makes the claim lost, of a disk whose storage ends before the disk begins: the kernel answers a read of it with an
// input/output error. The storage cannot grow again by a write: it is a tmpfs that is full. repair gives it back.
func (f *framework) lostDisk() (repair func()) {
	const folder, storage, image = "/var/lost", "/var/lost-storage", "/var/lost-storage/fs.img"
	f.run("sh", "-ec", `
mkdir -p `+folder+` `+storage+`
mount -t tmpfs -o size=80m lost `+storage+`
cd `+storage+`
mkdir disk
tr '\0' x </dev/zero | head -c 4M >disk/disk.img
chown 107:107 disk/disk.img
truncate -s 32M sparse.img
mkfs.ext4 -q -b 4096 -O ^has_journal -d disk sparse.img
cp --sparse=never sparse.img `+image+`
rm -r disk sparse.img
loop=$(losetup -f)
[ -e "$loop" ] || mknod "$loop" b 7 "${loop#/dev/loop}"
mount -o loop="$loop" `+image+` `+folder+`
first=$(debugfs -R 'blocks disk.img' `+image+` 2>/dev/null | tr ' ' '\n' | grep . | sort -n | head -n 1)
truncate -s $((4096 * first)) `+image+`
mount -o remount,size=$((4096 * first)) `+storage)
	f.t.Cleanup(func() { f.run("umount", "-l", folder, storage) }) // which gives the loop device back
	f.impose(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: lost}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], storageClassName: "", hostPath: {path: ` + folder + `}, claimRef: {namespace: ` + labelled + `, name: lost}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: lost, namespace: ` + labelled + `}
spec: {accessModes: [ReadWriteMany], storageClassName: "", volumeName: lost, resources: {requests: {storage: 1Gi}}}
`)
	return func() { f.run("sh", "-ec", "mount -o remount,size=80m "+storage+"; truncate -s 32M "+image) }
}

// A VM on KVM whose guest agent says that it is Windows, and that has no enlightenments for it, is reported. No guest here is
// Windows: the name is put where virt-handler would put the agent's, in KubeVirt's name, which alone may, and KubeVirt shows it in
// its metric.
func TestWindows(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "windows"}
	f.start(v)
	f.must(f.CoreV1().RESTClient().Patch(types.MergePatchType).
		AbsPath(fmt.Sprintf("/apis/kubevirt.io/v1/namespaces/%s/virtualmachineinstances/%s", v.namespace, v.name)).
		SetHeader("Impersonate-User", "system:serviceaccount:kubevirt:kubevirt-controller").
		Body([]byte(`{"status":{"guestOSInfo":{"name":"Microsoft Windows"}}}`)).Do(f.ctx).Error())
	f.awaitSeries(`kubevirt_vmi_info{namespace=%q,name=%q,guest_os_name="Microsoft Windows"}`, v.namespace, v.name)
	alert := vmLabels(v, f.pod(v), "")
	maps.Copy(alert, map[string]string{"hyperv": "none"})
	f.awaitAlert("VirtualMachineWithoutEnlightenments", alert)
	f.removeNow(v)
	f.awaitResolved("VirtualMachineWithoutEnlightenments", alert)
}

// A node that is itself a VM is reported once there are VMs on KVM on it; a physical one, and one of which a container cannot see
// what it is, are not. What this machine is, is not for the check to say.
func TestNestedVirtualization(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "nested"}
	f.start(v)
	f.awaitInfo(v)
	node := f.pod(v).Spec.NodeName
	f.awaitSeries(`kubevirt_node_virtualization_info{job=%q,node=%q}`, relayJob, node)
	virtualization := f.query(`kubevirt_node_virtualization_info{job=%q,node=%q}`, relayJob, node)[0].Metric["virtualization"]
	t.Logf("the node is a VM of: %s", virtualization)
	if virtualization == "none" || virtualization == "unknown" {
		f.requireNoAlert("VirtualMachinesOnNestedVirtualization", map[string]string{"virtualization": virtualization})
		return
	}
	f.awaitAlert("VirtualMachinesOnNestedVirtualization", map[string]string{"virtualization": virtualization})
}

// What VMs get that start now is known by KubeVirt's word on which virt-launchers are outdated: here none is.
func TestCurrentQEMU(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "current-qemu"}
	f.start(v)
	f.awaitSeries("%s", v.series("kubevirt_vmi_hypervisor_domain_info", `hypervisor_version!=""`))
	version := f.query("%s", v.series("kubevirt_vmi_hypervisor_domain_info"))[0].Metric["hypervisor_version"]
	current := f.recording("hypervisor_version:kubevirt_vmi_hypervisor_domain_info:current")
	f.until("a current version", func() bool {
		found := f.query("%s", current)
		return len(found) == 1 && found[0].Metric["hypervisor_version"] == version
	}, func() any { return f.query("%s", current) })
	require.Empty(t, f.query(`kubevirt_vmi_info{phase="running",outdated="true"}`))
	f.requireNoAlert("VirtualMachinesOnOutdatedQEMU", map[string]string{})
}

// recording returns the expression of a recording rule.
func (f *framework) recording(name string) string {
	for _, group := range f.productRules() {
		for _, one := range group.Rules {
			if one.Record == name {
				return one.Expr
			}
		}
	}
	require.Fail(f.t, "no such recording", name)
	return ""
}

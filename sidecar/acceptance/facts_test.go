package acceptance

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// TestFacts: what libvirt makes of a domain's elements when it starts is recognised. What a test machine may lack
// (host-passthrough, huge pages, confidential computing, SR-IOV) is in package hypervisor, TestFacts.
func TestFacts(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	p := start(t, setup{socket: daemon.Socket()})
	images := folder(t, libvirttest.QEMUUser)
	disk := func(dev, bus string) string {
		path := filepath.Join(images, dev)
		require.NoError(t, os.WriteFile(path, make([]byte, 1<<20), 0o666))
		require.NoError(t, os.Chmod(path, 0o666))
		return fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='%s' bus='%s'/></disk>", path, dev, bus)
	}
	nic := func(model string) string { return "<interface type='user'><model type='" + model + "'/></interface>" }
	scsi := func(model string) string { return "<controller type='scsi' index='0' model='" + model + "'/>" }
	const (
		cd     = "<disk type='file' device='cdrom'><target dev='sdz' bus='sata'/></disk>"
		hyperv = "<hyperv><relaxed state='on'/><spinlocks state='on' retries='8191'/></hyperv>"
	)
	tcg := map[string]string{"cpu_model": "qemu64", "hyperv": "none", "launch_security": "none", "memory": "normal", "disks": "", "nics": "", "host_arch": "x86_64"}
	kvm := libvirttest.KVM
	if err := libvirttest.HaveKVM(); err != nil {
		t.Logf("enlightenments, which need KVM, are not tested: %v", err)
		kvm = ""
	}
	for _, c := range []struct {
		guest libvirttest.Guest
		want  map[string]string
	}{
		{libvirttest.Guest{}, nil},
		{libvirttest.Guest{CPU: "<cpu mode='maximum'/>", Devices: disk("sda", "sata") + disk("vdb", "virtio") + nic("virtio")},
			map[string]string{"cpu_model": "maximum", "disks": "emulated", "nics": "virtio"}},
		{libvirttest.Guest{Program: libvirttest.Idle, Devices: scsi("virtio-non-transitional") + disk("sdb", "scsi") + cd + nic("virtio") + nic("e1000e")},
			map[string]string{"disks": "virtio", "nics": "emulated"}},
		{libvirttest.Guest{Devices: scsi("lsilogic") + disk("sdc", "scsi") + nic("virtio-non-transitional")},
			map[string]string{"disks": "emulated", "nics": "virtio"}},
		{libvirttest.Guest{Type: kvm, Features: hyperv}, map[string]string{"hyperv": "partial"}},
	} {
		if c.guest.Features != "" && kvm == "" {
			continue
		}
		want := maps.Clone(tcg)
		maps.Copy(want, c.want)
		c.guest.Namespace, c.guest.Name = "default", "vm"
		vm, err := daemon.Create(t.Context(), c.guest)
		require.NoError(t, err)
		p.awaitPage(t, func(found page) error {
			labels, err := found.labels(domainMetric)
			if err != nil {
				return err
			}
			for name, value := range want {
				if labels == nil || labels[name] != value {
					return fmt.Errorf("%s: %s is %q, want %q", domainMetric, name, labels[name], value)
				}
			}
			return nil
		})
		require.NoError(t, vm.Destroy(t.Context()))
		p.await(t, absent)
	}
}

// TestStateWords: the state and libvirt's reason for it are shown whether the VM runs or not.
func TestStateWords(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	p := start(t, setup{socket: daemon.Socket()})
	vm, err := daemon.Define(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm"})
	require.NoError(t, err)
	for _, step := range []struct {
		do            func() error
		state, reason string
	}{
		{func() error { return vm.StartPaused(t.Context()) }, "paused", "user"},
		{func() error { return vm.Resume(t.Context()) }, "running", "unpaused"},
		{func() error { return vm.Suspend(t.Context()) }, "paused", "user"},
		{func() error { return vm.Destroy(t.Context()) }, "shutoff", "destroyed"},
		{func() error { return vm.Start(t.Context()) }, "running", "booted"},
		{vm.KillQEMU, "shutoff", "crashed"},
	} {
		require.NoError(t, step.do())
		p.awaitPage(t, func(found page) error {
			labels, err := found.labels("kubevirt_vmi_hypervisor_state_info")
			if got := labels["state"] + " " + labels["reason"]; err == nil && got != step.state+" "+step.reason {
				err = fmt.Errorf("the state is %s, want %s %s", got, step.state, step.reason)
			}
			return err
		})
	}
}

// TestDiskFails: QEMU pauses a guest whose disk fails, and the page has the reason.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	p := start(t, setup{socket: daemon.Socket()})
	path := filepath.Join(folder(t, libvirttest.QEMUUser), "corrupt.qcow2")
	require.NoError(t, os.WriteFile(path, corruptDisk(), 0o666))
	require.NoError(t, os.Chmod(path, 0o666))
	_, err := daemon.Create(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm", Devices: "<disk type='file' device='disk'>" +
		"<driver name='qemu' type='qcow2' error_policy='stop' rerror_policy='stop'/><source file='" + path + "'/><target dev='vda' bus='virtio'/></disk>"})
	require.NoError(t, err)
	p.awaitPage(t, func(found page) error {
		labels, err := found.labels("kubevirt_vmi_hypervisor_state_info")
		if got := labels["state"] + " " + labels["reason"]; err == nil && got != "paused ioerror" {
			err = fmt.Errorf("the state is %s", got)
		}
		return err
	})
	p.holds(t, "qemu-tcg", 150*time.Millisecond) // as KubeVirt, where its phase is Running
}

// corruptDisk is a qcow2 image of 1 MiB (QEMU's docs/interop/qcow2.rst) whose first cluster is compressed, and cannot be
// decompressed: QEMU answers a read of it with EIO.
func corruptDisk() []byte {
	const cluster = 1 << 16
	image := make([]byte, 6*cluster)
	put32, put64 := binary.BigEndian.PutUint32, binary.BigEndian.PutUint64
	copy(image, "QFI\xfb")
	put32(image[4:], 2)                       // version
	put32(image[20:], 16)                     // cluster_bits
	put64(image[24:], 1<<20)                  // size
	put32(image[36:], 1)                      // l1_size
	put64(image[40:], 3*cluster)              // l1_table_offset
	put64(image[48:], cluster)                // refcount_table_offset
	put32(image[56:], 1)                      // refcount_table_clusters
	put64(image[cluster:], 2*cluster)         // the refcounts
	put64(image[3*cluster:], 1<<63|4*cluster) // the L2 table
	put64(image[4*cluster:], 1<<62|5*cluster) // the compressed cluster, which is all zeros
	for i := range 6 {
		binary.BigEndian.PutUint16(image[2*cluster+2*i:], 1)
	}
	return image
}

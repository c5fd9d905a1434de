package checks

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

// libvirtURI is the libvirt of a VM's own container.
const libvirtURI = "qemu+unix:///session?socket=/var/run/libvirt/virtqemud-sock"

// run runs a command on the first node and returns what it printed.
func (f *framework) run(args ...string) string { return f.runOn(f.node, args...) }

func (f *framework) runOn(n *node.Node, args ...string) string {
	output, err := n.Run(f.ctx, args...)
	f.must(err)
	return output
}

// exec runs a command in a container's namespaces, but not in its cgroups. It does not go through the kubelet, which a
// check may have stopped.
func (f *framework) exec(pod *corev1.Pod, container string, args ...string) string {
	return f.run(append([]string{"nsenter", "-t", f.containerPID(pod, container), "-m", "-p", "-n", "--"}, args...)...)
}

// virsh runs virsh against the libvirt of a VM's pod.
func (f *framework) virsh(pod *corev1.Pod, args ...string) string {
	return f.exec(pod, "compute", append([]string{"virsh", "-c", libvirtURI}, args...)...)
}

// containerPID is the container's first process as the first node numbers it.
func (f *framework) containerPID(pod *corev1.Pod, container string) string {
	pid := f.findPID(pod, container)
	require.NotEmpty(f.t, pid, "%s of %s does not run", container, pod.Name)
	return pid
}

// findPID is the container's first process, "" where it does not run.
func (f *framework) findPID(pod *corev1.Pod, container string) string {
	id := strings.TrimPrefix(status(pod, container).ContainerID, "containerd://")
	for line := range strings.Lines(f.run("ctr", "-n", "k8s.io", "tasks", "ls")) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id && fields[2] == "RUNNING" {
			return fields[1]
		}
	}
	return ""
}

// kill sends a signal to processes of the first node.
func (f *framework) kill(signal string, pids ...string) {
	f.run(append([]string{"kill", "-" + signal}, pids...)...)
}

// processes are the container's, as the node numbers them, in the order in which they were started: the container's
// first, then what it has started.
func (f *framework) processes(pod *corev1.Pod, container string) []string {
	first := f.containerPID(pod, container)
	pids := strings.Fields(f.run("sh", "-c", fmt.Sprintf(`cat /sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/%s/cgroup)/cgroup.procs`, first)))
	slices.SortFunc(pids, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return slices.Concat([]string{first}, slices.DeleteFunc(pids, func(pid string) bool { return pid == first }))
}

// exporter returns the processes of the VM's sidecar: the supervisor, and the exporter, which serves.
func (f *framework) exporter(v vm) (supervisor, exporter string) {
	pids := f.processes(f.pod(v), sidecar)
	require.Len(f.t, pids, 2, "supervisor and exporter")
	return pids[0], pids[1]
}

// holdProgram kills one of the node's programs and keeps it from being started again until resume is called.
func (f *framework) holdProgram(program string) (resume func()) {
	resume = sync.OnceFunc(func() { f.run("rm", "-f", "/node/hold/"+program) })
	f.t.Cleanup(resume)
	f.run("touch", "/node/hold/"+program)
	f.must(f.node.Signal(f.ctx, program, syscall.SIGKILL))
	return resume
}

// removeImage removes an image from a node, by all of its names.
func (f *framework) removeImage(n *node.Node, named string) {
	list := f.runOn(n, "ctr", "-n", "k8s.io", "images", "ls")
	digest := ""
	for line := range strings.Lines(list) {
		if strings.Contains(line, named) {
			digest = strings.Fields(line)[2]
		}
	}
	require.NotEmpty(f.t, digest, list)
	for line := range strings.Lines(list) { // its id is a name, too
		if strings.Contains(line, digest) {
			f.runOn(n, "ctr", "-n", "k8s.io", "images", "rm", "--sync", strings.Fields(line)[0])
		}
	}
	f.until(named+" to be gone", func() bool {
		return !strings.Contains(f.runOn(n, "ctr", "-n", "k8s.io", "images", "ls", "-q"), named)
	}, nil)
}

// secondNode adds a node to the cluster until the check ends, and returns once it can run VMs. It is cordoned: no pod of
// another check comes there.
func (f *framework) secondNode(kubeletRoot string) *node.Node {
	dir, err := programs.UserCache()
	f.must(err)
	second := node.Second(dir.Path("node-2"), f.node)
	second.KubeletRoot = kubeletRoot
	f.t.Cleanup(func() { f.removeNode(second) })
	f.must(second.Start(f.ctx))
	f.eventually(second.Name+" to be cordoned", func() error { // before it is ready
		return f.PatchNode(f.ctx, second.Name, `{"spec":{"unschedulable":true}}`)
	})
	for _, archive := range []string{node.Images, node.ProductImage} {
		_, err := second.Import(f.ctx, archive)
		f.must(err)
	}
	f.must(second.CopyGuests(f.ctx))
	f.must(f.WaitNode(f.ctx, second.Name))
	f.eventually(second.Name+" to take VMs", func() error {
		found, err := f.CoreV1().Nodes().Get(f.ctx, second.Name, metav1.GetOptions{})
		if err == nil && found.Labels["kubevirt.io/schedulable"] != "true" {
			err = errors.New("virt-handler has not labelled it")
		}
		return err
	})
	return second
}

// removeNode ends the node and removes it and its pods from the cluster.
func (f *framework) removeNode(second *node.Node) {
	// Its daemons' pods would be created again until it is gone.
	if err := f.CoreV1().Nodes().Delete(f.ctx, second.Name, metav1.DeleteOptions{}); !cluster.IsNotFound(err) {
		f.must(err)
	}
	f.must(second.Stop(f.ctx))
	for _, pod := range f.pods("", "") {
		if pod.Spec.NodeName != second.Name {
			continue
		}
		err := f.CoreV1().Pods(pod.Namespace).Delete(f.ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if !cluster.IsNotFound(err) {
			f.must(err)
		}
	}
}

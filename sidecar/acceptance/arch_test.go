//go:build arch

package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// emulators run the binaries of the images' other architectures, each under the name that Go has for it.
var emulators = map[string]string{
	"arm64": "/usr/bin/qemu-aarch64-static",
	"s390x": "/usr/bin/qemu-s390x-static",
}

// foreign is the sidecar of another architecture, and how it is run here.
type foreign struct {
	emulator, supervisor, sidecar string
}

// prebuilt copies the binaries that make has put into bin/ to where every user can reach them.
func prebuilt(t *testing.T, arch string) foreign {
	t.Helper()
	emulator := emulators[arch]
	_, err := os.Stat(emulator)
	require.NoError(t, err, "install with: apt-get install -y --no-install-recommends qemu-user-static")
	dir := folder(t, libvirttest.QEMUUser)
	f := foreign{emulator, filepath.Join(dir, "supervisor"), filepath.Join(dir, "sidecar")}
	for _, path := range []string{f.supervisor, f.sidecar} {
		content, err := os.ReadFile(filepath.Join("../../bin", arch, filepath.Base(path)))
		require.NoError(t, err, "build with: make build-%s", arch)
		require.NoError(t, os.WriteFile(path, content, 0o755))
	}
	return f
}

// command runs the sidecar's command line in the emulator.
func (f foreign) command(args ...string) *exec.Cmd {
	return command(f.emulator, libvirttest.QEMUUser, nil, append([]string{f.sidecar}, args...)...)
}

// start runs the sidecar under its supervisor. QEMU gives a program the machine's own execve: so the supervisor is given
// the emulator to start, which starts the sidecar. No registration with the kernel (binfmt_misc) is needed.
func (f foreign) start(t *testing.T, s setup) *sidecar {
	t.Helper()
	s.under, s.binary = []string{f.emulator, f.supervisor, f.emulator}, f.sidecar
	return start(t, s)
}

// kinds are the domain types that this machine can run, with the label for each.
func kinds(t *testing.T) map[libvirttest.Type]string {
	t.Helper()
	found := map[libvirttest.Type]string{libvirttest.TCG: "qemu-tcg"}
	if err := libvirttest.HaveKVM(); err != nil {
		t.Logf("not tested with type kvm: %v", err)
	} else {
		found[libvirttest.KVM] = "kvm"
	}
	return found
}

// TestOtherArchitectures runs what the sidecar's image holds for arm64 and s390x beside a real libvirtd of this machine
// and its VMs: start, detection, scrape, show, the supervisor's restart, the end. Memory and speed are the
// emulator's and are not tested.
func TestOtherArchitectures(t *testing.T) {
	for arch := range emulators {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			f := prebuilt(t, arch)
			for kind, label := range kinds(t) {
				t.Run(label, func(t *testing.T) {
					t.Parallel()
					f.beside(t, arch, kind, label)
				})
			}
			t.Run("commands", func(t *testing.T) { f.commands(t, arch) })
			t.Run("port", func(t *testing.T) { f.port(t, arch) })
		})
	}
}

// beside follows a VM from before its start to after its end.
func (f foreign) beside(t *testing.T, arch string, kind libvirttest.Type, label string) {
	daemon := libvirttest.New(t)
	p := f.start(t, setup{socket: daemon.Socket()})
	p.awaitUp(t, true)
	p.await(t, absent)
	require.Equal(t, 1.0, p.page(t).number("hypervisor_exporter_build_info", "goarch", arch))
	vm, err := daemon.Run(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm", Type: kind})
	require.NoError(t, err)
	p.await(t, label)
	domain, err := p.page(t).labels(domainMetric)
	require.NoError(t, err)
	require.Equal(t, "x86_64", domain["arch"])
	require.Equal(t, "9.0.0", domain["libvirt_version"])
	p.awaitStatus(t, "/readyz", 200)
	out, err := f.command("show", "--listen-address="+p.listen).CombinedOutput()
	require.NoError(t, err, "show: %s", out)

	p.killExporter(t)
	p.awaitPage(t, func(found page) error {
		if restarts := found.number("hypervisor_exporter_restarts_total"); restarts != 1 {
			return fmt.Errorf("%v restarts", restarts)
		}
		return nil
	})
	p.await(t, label)
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
	code, took, err := p.end(syscall.SIGTERM)
	require.NoError(t, err)
	require.Zero(t, code)
	t.Logf("ended after %v", took)
	require.Contains(t, p.Log(), "stopped", "it ended by itself, not by the supervisor's kill")
	out, err = f.command("show", "--listen-address="+p.listen).CombinedOutput()
	require.Error(t, err, "nothing listens any more")
	require.Contains(t, string(out), "show "+p.listen)
}

// killExporter kills the supervisor's child.
func (p *sidecar) killExporter(t *testing.T) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", p.Pid()))
	require.NoError(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(string(children)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(child, syscall.SIGKILL))
}

// commands: the exit codes by which the supervisor knows that there is nothing to start again.
func (f foreign) commands(t *testing.T, arch string) {
	out, err := command(f.emulator, libvirttest.QEMUUser, nil, f.supervisor, f.emulator, f.sidecar, "version").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "linux/"+arch)
	failed := command(f.emulator, libvirttest.QEMUUser, nil, f.supervisor, f.emulator, f.sidecar, "--no-such-flag")
	require.Error(t, failed.Run())
	require.Equal(t, 64, failed.ProcessState.ExitCode())
}

// port: the listener of the exposure "direct". To find the device to bind to, it asks the kernel by netlink.
func (f foreign) port(t *testing.T, arch string) {
	s := setup{socket: nowhere, listen: testkit.FreeAddress(t), args: []string{"--bind-to-device"}}
	if arch == "s390x" {
		// QEMU does not swap the bytes of a message's last attribute where that is empty (host_to_target_for_each_rtattr
		// in linux-user/fd-trans.c, 7.2: > where >= is meant): Go's net.Interfaces fails. On a kernel of s390x it does not:
		// exposition.TestListenTCPBindsToTheDevice passes there.
		s.args = nil
	}
	p := f.start(t, s)
	p.awaitServing(t)
	require.NotContains(t, p.Log(), "not bound to its device")
}

// TestOtherPrograms: what the other images hold, and the plugin, start.
func TestOtherPrograms(t *testing.T) {
	for arch, emulator := range emulators {
		for program, argument := range map[string]string{"webhook": "version", "relay": "version", "kubectl-hypervisor": "version"} {
			out, err := exec.Command(emulator, filepath.Join("../../bin", arch, program), argument).CombinedOutput()
			require.NoError(t, err, "%s for %s (build with: make build-%[2]s): %[3]s", program, arch, out)
			require.Contains(t, string(out), "linux/"+arch)
		}
	}
}

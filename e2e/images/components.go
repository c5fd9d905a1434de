package images

import (
	"os"
	"path/filepath"
	"strings"

	"kubevirt-hypervisor-exporter/e2e/programs"
)

// component is one image.
type component struct {
	name       string
	user       string
	entrypoint []string
	files      []file
	bare       bool // without Debian
}

// kubevirtComponents are laid out as KubeVirt's own images (cmd/*/BUILD.bazel): uid 1001 for what needs no node.
func kubevirtComponents(set programs.Set, containerDisk string) []component {
	var all []component
	for _, name := range []string{"virt-api", "virt-controller", "virt-operator", "virt-exportproxy"} {
		all = append(all, component{
			name: Name(name, set.Version), user: "1001", entrypoint: []string{"/usr/bin/" + name},
			files: []file{program(set, name)},
		})
	}
	disk := file{path: "/usr/bin/container-disk", from: containerDisk, mode: 0o755}
	return append(all,
		component{
			name: Name("virt-handler", set.Version), user: "0", entrypoint: []string{"/usr/bin/virt-handler"},
			files: []file{program(set, "virt-handler"), program(set, "virt-chroot"), disk, source(set, "virt-handler/nsswitch.conf", "/etc/nsswitch.conf", 0o644)},
		},
		component{
			name: Name("virt-launcher", set.Version), user: launcherUser(set), entrypoint: []string{"/usr/bin/virt-launcher"},
			files: launcherFiles(set, disk),
		})
}

// launcherUser is what KubeVirt's own build gives the launcher's image: nobody (root) before 1.9, whose node-labeller
// would not work otherwise.
func launcherUser(set programs.Set) string {
	build, err := os.ReadFile(filepath.Join(set.Module, "cmd/virt-launcher/BUILD.bazel"))
	if err == nil && strings.Contains(string(build), `user = "107"`) {
		return "107"
	}
	return "0"
}

func launcherFiles(set programs.Set, disk file) []file {
	files := []file{disk, {path: "/usr/sbin/virtqemud", text: virtqemud, mode: 0o755}, {path: "/init/usr/bin/.keep", mode: 0o644}}
	for _, name := range []string{"virt-launcher", "virt-probe", "virt-tail", "virt-freezer", "libvirt-hook-client"} {
		if exists(filepath.Join(set.Dir, name)) {
			files = append(files, program(set, name))
		}
	}
	monitor := program(set, "virt-launcher-monitor")
	monitor.capability = capNetBindService
	hook := source(set, "virt-launcher/qemu", "/etc/libvirt/hooks/qemu", 0o755)
	hook.owner = 107 // virt-launcher replaces it
	files = append(files, monitor,
		source(set, "virt-launcher/node-labeller/node-labeller.sh", "/usr/bin/node-labeller.sh", 0o755),
		source(set, "virt-launcher/qemu.conf", "/etc/libvirt/qemu.conf", 0o644),
		source(set, "virt-launcher/virtqemud.conf", "/etc/libvirt/virtqemud.conf", 0o644),
		source(set, "virt-launcher/nsswitch.conf", "/etc/nsswitch.conf", 0o644))
	if exists(hook.from) {
		files = append(files, hook)
	}
	return files
}

func monitoringComponents(operator, prometheus, kubeState programs.Set) []component {
	static := func(name string, set programs.Set, program string) component {
		path := "/bin/" + program
		return component{
			name: Name(name, set.Version), user: "65534", entrypoint: []string{path}, bare: true,
			files: []file{{path: path, from: filepath.Join(set.Dir, program), mode: 0o755}},
		}
	}
	return []component{
		static("prometheus-operator", operator, "operator"),
		static("prometheus-config-reloader", operator, "prometheus-config-reloader"),
		static("prometheus", prometheus, "prometheus"),
		static("kube-state-metrics", kubeState, "kube-state-metrics"),
	}
}

func program(set programs.Set, name string) file {
	return file{path: "/usr/bin/" + name, from: filepath.Join(set.Dir, name), mode: 0o755}
}

// source is a file of KubeVirt's that is installed as it is.
func source(set programs.Set, from, to string, mode int64) file {
	return file{path: to, from: filepath.Join(set.Module, "cmd", from), mode: mode}
}

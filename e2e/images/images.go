// Package images makes the container images of everything but the product: Debian, and one layer each on top.
package images

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"kubevirt-hypervisor-exporter/e2e/programs"
)

// Suite is the Debian release of node and images.
const Suite = "bookworm"

// Name is the reference under which an image of ours is known in the node; nothing is ever pulled.
func Name(component, version string) string { return "e2e.local/" + component + ":" + version }

// Pause is the image of every pod's first container.
var Pause = Name("pause", "1")

var (
	//go:embed debian.sh
	debianScript string
	//go:embed guest.sh
	guestScript string
	//go:embed guest-init.sh
	guestInit string
	//go:embed guest-reach.sh
	guestReach string
	//go:embed virtqemud.sh
	virtqemud string
	//go:embed pause/pause.c
	pauseSource string
)

func debianPackages() []string {
	return []string{
		// in the images
		"libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-x86", "qemu-utils", "seabios", "ovmf", "xorriso",
		"nftables", "iproute2", "procps", "util-linux", "ca-certificates", "libcap2-bin", "acl", "curl", "netcat-openbsd",
		// in the node
		"containerd", "runc", "containernetworking-plugins", "etcd-server", "iptables", "conntrack", "kmod",
	}
}

// Debian makes the Debian tree: root, the node's root folder, and layer, the images' lowest layer.
func Debian(ctx context.Context, dir programs.Cache) (root, layer string, err error) {
	ingredients := []byte(Suite + strings.Join(debianPackages(), " ") + debianScript)
	made, err := dir.Make(ctx, "debian", ingredients, func(ctx context.Context, into string) error {
		return script(ctx, debianScript, append([]string{into, Suite}, debianPackages()...)...)
	})
	return filepath.Join(made, "root"), filepath.Join(made, "layer.tar"), err
}

// Guest makes the guests' disks: a folder with acpi/disk.img, off/disk.img and crash/disk.img.
func Guest(ctx context.Context, dir programs.Cache) (string, error) {
	return dir.Make(ctx, "guest", []byte(guestScript+guestInit+guestReach), func(ctx context.Context, into string) error {
		if err := os.MkdirAll(into, 0o755); err != nil {
			return err
		}
		files := map[string]string{"init": guestInit, "reach": guestReach}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(into, name), []byte(text), 0o755); err != nil {
				return err
			}
		}
		return script(ctx, guestScript, into, filepath.Join(into, "init"), filepath.Join(into, "reach"))
	})
}

// Archive packs all images into one archive for `ctr image import`.
func Archive(ctx context.Context, dir programs.Cache, baseLayer string, kubevirt, operator, prometheus, kubeState programs.Set) (string, error) {
	ingredients := []byte(strings.Join([]string{"2", baseLayer, kubevirt.Dir, operator.Dir, prometheus.Dir, kubeState.Dir, virtqemud, pauseSource}, "\n"))
	archive, err := dir.Make(ctx, "images-kubevirt-"+kubevirt.Version, ingredients, func(ctx context.Context, into string) error {
		if err := os.MkdirAll(into, 0o755); err != nil {
			return err
		}
		pause, err := compilePause(ctx, into)
		if err != nil {
			return err
		}
		containerDisk, err := compile(ctx, filepath.Join(into, "container-disk"), filepath.Join(kubevirt.Module, "cmd/container-disk-v2alpha/main.c"))
		if err != nil {
			return err
		}
		components := append(kubevirtComponents(kubevirt, containerDisk), monitoringComponents(operator, prometheus, kubeState)...)
		return pack(filepath.Join(into, "images.tar"), baseLayer, append(components, component{
			name: Pause, user: "65535", entrypoint: []string{"/pause"}, bare: true,
			files: []file{{path: "/pause", from: pause, mode: 0o755}},
		}))
	})
	return filepath.Join(archive, "images.tar"), err
}

func pack(path, baseLayer string, components []component) error {
	base, err := tarball.LayerFromFile(baseLayer, tarball.WithCompression(compression.None))
	if err != nil {
		return fmt.Errorf("read the images' lowest layer: %w", err)
	}
	all := map[name.Reference]v1.Image{}
	for _, c := range components {
		reference, err := name.ParseReference(c.name)
		if err != nil {
			return err
		}
		if all[reference], err = c.image(base); err != nil {
			return fmt.Errorf("image %s: %w", c.name, err)
		}
	}
	return tarball.MultiRefWriteToFile(path, all)
}

func (c component) image(base v1.Layer) (v1.Image, error) {
	layers := []v1.Layer{base}
	if c.bare {
		layers = nil
	}
	if len(c.files) > 0 {
		top, err := layer(c.files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, top)
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{
		User: c.user, Entrypoint: c.entrypoint,
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	return mutate.ConfigFile(image, config)
}

func compilePause(ctx context.Context, into string) (string, error) {
	source := filepath.Join(into, "pause.c")
	if err := os.WriteFile(source, []byte(pauseSource), 0o644); err != nil {
		return "", err
	}
	return compile(ctx, filepath.Join(into, "pause"), source)
}

func compile(ctx context.Context, program, source string) (string, error) {
	output, err := exec.CommandContext(ctx, "gcc", "-static", "-O2", "-o", program, source).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("compile %s (apt-get install gcc libc6-dev): %w: %s", source, err, output)
	}
	return program, nil
}

func script(ctx context.Context, text string, args ...string) error {
	command := exec.CommandContext(ctx, "bash", append([]string{"-s", "--"}, args...)...)
	command.Stdin = strings.NewReader(text)
	// An interrupt ends what the script has started, too.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

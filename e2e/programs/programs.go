// Package programs builds Kubernetes, KubeVirt, Prometheus, its operator and kube-state-metrics from their Go modules. The
// version of each is the one that its go.mod beside this file requires; that of helm is in the chart's tests.
package programs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/mod/modfile"
)

// Builder builds what the modules in a folder pin.
type Builder struct {
	// Source is this folder, with a module in each sub-folder.
	Source string
	// Cache keeps the programs.
	Cache Cache
}

// Set is one module's programs, built.
type Set struct {
	// Version of the module, as in v1.36.3.
	Version string
	// Dir holds the programs.
	Dir string
	// Module is the folder of the module's source, for the files that are installed as they are.
	Module string
}

// source is what to build of a module and how.
type source struct {
	folder, module string
	packages       []string
	optional       []string // those that only some versions have
	cgo            []string // those that link against Debian's libvirt
	versionVars    []string
	extra          string // further linker flags
	tags           string
}

// Kubernetes builds the control plane and the node's programs, for a version of KubeVirt: an older KubeVirt that does not
// work with the newest Kubernetes has a folder kubernetes-for-kubevirt-<version>.
func (b Builder) Kubernetes(ctx context.Context, kubevirt string) (Set, error) {
	folder := "kubernetes-for-kubevirt-" + kubevirt
	if _, err := os.Stat(filepath.Join(b.Source, folder)); err != nil {
		folder = "kubernetes"
	}
	return b.build(ctx, source{
		folder: folder, module: "k8s.io/kubernetes",
		packages: []string{"cmd/kube-apiserver", "cmd/kube-controller-manager", "cmd/kube-scheduler", "cmd/kubelet", "cmd/kube-proxy"},
		// Without a version stamped in they say v0.0.0, and clients that compare versions refuse that.
		versionVars: []string{"k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"},
	})
}

// KubeVirt builds a version of KubeVirt for which there is a folder kubevirt-<version>.
func (b Builder) KubeVirt(ctx context.Context, version string) (Set, error) {
	folder := "kubevirt-" + version
	if _, err := os.Stat(filepath.Join(b.Source, folder)); err != nil {
		known, _ := filepath.Glob(filepath.Join(b.Source, "kubevirt-*")) // the pattern is good
		return Set{}, fmt.Errorf("no KubeVirt %s here: there are %s; another needs a folder e2e/programs/%s with its go.mod", version, strings.Join(known, ", "), folder)
	}
	const v = "kubevirt.io/client-go/version"
	return b.build(ctx, source{
		folder: folder, module: "kubevirt.io/kubevirt",
		packages: []string{"cmd/virt-controller", "cmd/virt-api", "cmd/virt-operator", "cmd/virt-exportproxy", "cmd/virt-chroot", "cmd/virt-probe",
			"cmd/virt-tail", "cmd/virt-freezer", "cmd/virt-launcher-monitor"},
		optional:    []string{"cmd/virt-launcher/libvirt-hook-client"},
		cgo:         []string{"cmd/virt-handler", "cmd/virt-launcher"},
		versionVars: []string{v + ".gitVersion"},
		extra:       "-X " + v + ".gitCommit=module -X " + v + ".gitTreeState=clean -X " + v + ".buildDate=2026-01-01T00:00:00Z",
	})
}

// Prometheus builds Prometheus, which can discover Kubernetes and nothing else. Debian's cannot.
func (b Builder) Prometheus(ctx context.Context) (Set, error) {
	return b.build(ctx, source{
		folder: "prometheus", module: "github.com/prometheus/prometheus",
		packages:    []string{"cmd/prometheus"},
		versionVars: []string{"github.com/prometheus/common/version.Version"},
		tags:        "remove_all_sd,enable_kubernetes_sd",
	})
}

// Monitoring builds the Prometheus operator and its config reloader.
func (b Builder) Monitoring(ctx context.Context) (Set, error) {
	return b.build(ctx, source{
		folder: "monitoring", module: "github.com/prometheus-operator/prometheus-operator",
		packages:    []string{"cmd/operator", "cmd/prometheus-config-reloader"},
		versionVars: []string{"github.com/prometheus/common/version.Version"},
	})
}

// KubeStateMetrics builds kube-state-metrics.
func (b Builder) KubeStateMetrics(ctx context.Context) (Set, error) {
	return b.build(ctx, source{
		folder: "kube-state-metrics", module: "k8s.io/kube-state-metrics/v2",
		packages:    []string{""},
		versionVars: []string{"github.com/prometheus/common/version.Version"},
	})
}

// Helm builds helm, of which the product's charts/charttest pins the version: that folder is then Source.
func (b Builder) Helm(ctx context.Context) (Set, error) {
	return b.build(ctx, source{folder: "helm", module: "helm.sh/helm/v4", packages: []string{"cmd/helm"}})
}

func (b Builder) build(ctx context.Context, s source) (Set, error) {
	ingredients, version, err := b.describe(s)
	if err != nil {
		return Set{}, err
	}
	work, err := os.MkdirTemp("", "e2e-"+s.folder+"-") // the go command may complete go.sum
	if err != nil {
		return Set{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := os.CopyFS(work, os.DirFS(filepath.Join(b.Source, s.folder))); err != nil {
		return Set{}, fmt.Errorf("copy the module that builds %s: %w", s.module, err)
	}
	module, err := goCommand(ctx, work, "0", "mod", "download", "-json", s.module)
	if err != nil {
		return Set{}, err
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal([]byte(module), &downloaded); err != nil {
		return Set{}, fmt.Errorf("read what go mod download prints about %s: %w", s.module, err)
	}
	built, err := b.Cache.Make(ctx, s.folder, ingredients, func(ctx context.Context, into string) error {
		flags := s.extra
		for _, name := range s.versionVars {
			flags += fmt.Sprintf(" -X %s=%s", name, version)
		}
		packages := s.packages
		for _, name := range s.optional {
			if _, err := os.Stat(filepath.Join(downloaded.Dir, name)); err == nil {
				packages = append(packages, name)
			}
		}
		return errors.Join(s.compile(ctx, work, into, "0", flags, packages), s.compile(ctx, work, into, "1", flags, s.cgo))
	})
	return Set{Version: version, Dir: built, Module: downloaded.Dir}, err
}

// describe returns everything that the programs depend on, and the version.
func (b Builder) describe(s source) (ingredients []byte, version string, err error) {
	ingredients = fmt.Appendf(nil, "%v", s)
	files := os.DirFS(filepath.Join(b.Source, s.folder))
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		ingredients = append(append(ingredients, name...), content...)
		if name == "go.mod" && err == nil {
			version, err = required(content, s.module)
		}
		return err
	})
	return ingredients, version, err
}

func required(gomod []byte, module string) (string, error) {
	parsed, err := modfile.ParseLax("go.mod", gomod, nil)
	if err != nil {
		return "", err
	}
	for _, require := range parsed.Require {
		if require.Mod.Path == module {
			return require.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("go.mod does not require %s", module)
}

func (s source) compile(ctx context.Context, work, into, cgo, flags string, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	args := []string{"build", "-mod=mod", "-p", "2", "-trimpath", "-tags", s.tags, "-ldflags", "-s -w " + flags, "-o", into + string(filepath.Separator)}
	for _, name := range packages {
		args = append(args, path.Join(s.module, name))
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	_, err := goCommand(ctx, work, cgo, args...)
	return err
}

func goCommand(ctx context.Context, dir, cgo string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", "go"}, args...)...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED="+cgo)
	// An interrupt ends the compilers that go has started, too.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(output)), nil
}

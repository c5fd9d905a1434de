package apiservertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// buildPackage is the folder of this package, whose sub-folder build is the module that pins the kube-apiserver.
const buildPackage = "kubevirt-hypervisor-exporter/internal/testkit/apiservertest"

// Binary returns the path of a kube-apiserver built from the Go module that build/go.mod pins.
// The first call on a machine builds it, which takes minutes; afterwards it lies in the user's cache folder, under
// a name that changes with the pinned modules. Any number of processes may call it at once: one builds, the rest wait.
func Binary(ctx context.Context) (string, error) {
	module, err := goCommand(ctx, ".", "list", "-f", "{{.Dir}}", buildPackage)
	if err != nil {
		return "", fmt.Errorf("find the folder of %s (run the test from within its module): %w", buildPackage, err)
	}
	source := filepath.Join(module, "build")
	name, version, err := binaryName(ctx, source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder for kube-apiserver (set HOME or XDG_CACHE_HOME): %w", err)
	}
	path := filepath.Join(cache, "kubevirt-hypervisor-exporter", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder of kube-apiserver: %w", err)
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("find a built kube-apiserver: %w", err)
	}
	return path, build(ctx, source, version, path)
}

// binaryName is the cached program's name: the version for the reader, the hash of what is built for the truth.
func binaryName(ctx context.Context, source string) (name, version string, err error) {
	version, err = goCommand(ctx, source, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return "", "", fmt.Errorf("read the version of k8s.io/kubernetes in %s: %w", source, err)
	}
	hash := sha256.New()
	for _, file := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			return "", "", fmt.Errorf("hash what kube-apiserver is built from: %w", err)
		}
		hash.Write(content)
	}
	return "kube-apiserver-" + version + "-" + hex.EncodeToString(hash.Sum(nil))[:12], version, nil
}

func build(ctx context.Context, source, version, path string) error {
	// Without a version stamped in, the API server reports v0.0.0 and clients that compare versions refuse it.
	flags := "-s -w"
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X %s.gitVersion=%s", pkg, version)
	}
	unfinished := path + ".unfinished"
	_, err := goCommand(ctx, source, "build", "-trimpath", "-ldflags", flags, "-o", unfinished, "k8s.io/kubernetes/cmd/kube-apiserver")
	if err != nil {
		return fmt.Errorf("build kube-apiserver %s: %w", version, err)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("put the built kube-apiserver in its place: %w", err)
	}
	return nil
}

func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	// The build is the same whatever workspace and C compiler surround it.
	command.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(output)), nil
}

// lock holds an exclusive lock on a file until unlock is called or the process ends.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the kube-apiserver build: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return closer(file), nil
}

func closer(c io.Closer) func() {
	return func() { _ = c.Close() } // closing is what unlocks; there is nothing to lose
}

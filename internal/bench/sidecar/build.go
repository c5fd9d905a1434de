package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// module is where the packages to build are.
const module = "kubevirt-hypervisor-exporter"

// build builds a command of the module as the Makefile does, and returns the
// binary's path.
func build(ctx context.Context, folder, name, pkg string) (string, error) {
	path := filepath.Join(folder, name)
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags", "-s -w", "-o", path, module+"/"+pkg)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, output)
	}
	return path, nil
}

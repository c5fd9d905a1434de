package testkit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Build builds programs of this module into the folder, as the images have them, each named after its folder.
// Arguments such as -race go before the packages, for example "./relay".
func Build(ctx context.Context, folder string, arguments ...string) error {
	root, err := ModuleRoot(ctx)
	if err != nil {
		return err
	}
	cgo := "CGO_ENABLED=0"
	line := []string{"build", "-buildvcs=false", "-ldflags", "-s -w", "-o", folder + "/"}
	if slices.Contains(arguments, "-race") {
		cgo = "CGO_ENABLED=1" // and no other flags, so that the packages are those that go test -race has compiled
	} else {
		line = append(line, "-trimpath", "-tags", "nethttpomithttp2")
	}
	build := exec.CommandContext(ctx, "go", append(line, arguments...)...)
	build.Dir, build.Env = root, append(os.Environ(), cgo)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", arguments, err, output)
	}
	return nil
}

// ModuleRoot returns the folder with go.mod.
func ModuleRoot(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(output))), nil
}

package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The binaries under test; TestMain builds them.
var plain, raced string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	plain, raced = filepath.Join(dir, "sidecar"), filepath.Join(dir, "sidecar-race")
	// Whoever the sidecar runs as must reach its binary.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, build := range []struct {
		cgo  string
		args []string
	}{
		{"CGO_ENABLED=0", []string{"build", "-o", plain}},
		{"CGO_ENABLED=1", []string{"build", "-race", "-o", raced}},
	} {
		cmd := exec.Command("go", append(build.args, "kubevirt-hypervisor-exporter/sidecar")...)
		cmd.Env = append(os.Environ(), build.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the sidecar (-race needs a C compiler: apt-get install -y gcc libc6-dev): %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

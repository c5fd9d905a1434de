package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// The binaries under test, and an API server for all tests.
var (
	relayBinary, sidecarBinary string
	apiServer                  *apiservertest.Server
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == denyArgument {
		fmt.Fprintln(os.Stderr, denyAndExec(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if err := check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "relay-acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// The sidecar's user must reach its binary.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	relayBinary, sidecarBinary = filepath.Join(dir, "relay"), filepath.Join(dir, "sidecar")
	for path, pkg := range map[string]string{relayBinary: "relay", sidecarBinary: "sidecar"} {
		cmd := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-o", path, "kubevirt-hypervisor-exporter/"+pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return apiservertest.Run(m, func(s *apiservertest.Server) { apiServer = s })
}

// check tells what the machine lacks.
func check() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("these tests make namespaces and files as the kubelet does: run them as root (sudo -E go test ./relay/acceptance)")
	}
	for program, install := range map[string]string{
		"nft": "nftables", "ip": "iproute2", "unshare": "util-linux", "setpriv": "util-linux", "nsenter": "util-linux",
	} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("no %s: apt-get install -y %s", program, install)
		}
	}
	return nil
}

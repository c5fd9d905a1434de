// Package acceptance tests the relay's binary as it runs on a node: uid 0 without a
// capability, a read-only view of the kubelet's folder, and pods in networks as KubeVirt
// makes them.
package acceptance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// binaries is the folder with the relay and the sidecar.
var binaries string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == denyArgument {
		fmt.Fprintln(os.Stderr, denyAndExec(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	if os.Getuid() != 0 {
		return 0, errors.New("these tests make namespaces, and files as the kubelet does: run them as root (sudo -E go test ./relay/acceptance)")
	}
	for program, install := range map[string]string{
		"nft": "nftables", "ip": "iproute2", "unshare": "util-linux", "setpriv": "util-linux", "nsenter": "util-linux",
	} {
		if _, err := exec.LookPath(program); err != nil {
			return 0, fmt.Errorf("no %s: apt-get install -y %s", program, install)
		}
	}
	var err error
	if binaries, err = os.MkdirTemp("", "relay-acceptance-"); err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(binaries) }()
	// The sidecar's user must reach its binary.
	if err := errors.Join(os.Chmod(binaries, 0o755), testkit.Build(context.Background(), binaries, "./relay", "./sidecar")); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func binary(name string) string { return filepath.Join(binaries, name) }

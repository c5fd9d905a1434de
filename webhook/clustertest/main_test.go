// Package clustertest runs the webhook, its certificates and its manifests against a real kube-apiserver.
package clustertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

var (
	server   *apiservertest.Server
	programs string // the folder of what the tests build
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if programs, err = os.MkdirTemp("", "clustertest"); err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(programs) }()
		return apiservertest.Run(m, func(s *apiservertest.Server) { server = s })
	}())
}

// webhookProgram returns the path of the product's binary, built as it is shipped.
func webhookProgram(t *testing.T) string {
	t.Helper()
	require.NoError(t, buildWebhook())
	return filepath.Join(programs, "webhook")
}

var buildWebhook = sync.OnceValue(func() error { return testkit.Build(context.Background(), programs, "./webhook") })

// foreignProgram returns the path of a program that a module of its own here builds of other people's code.
func foreignProgram(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(programs, name)
	command := exec.Command("go", "build", "-o", path, ".")
	command.Dir = name
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return path
}

// eventually waits for what must become true.
func eventually(t testing.TB, ask func() bool, what ...any) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if !ask() {
			return fmt.Errorf("not yet: %v", what)
		}
		return nil
	})
}

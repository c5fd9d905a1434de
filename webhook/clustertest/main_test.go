// Package clustertest drives the webhook, its certificates and its manifests against a real kube-apiserver.
package clustertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

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
	path, err := buildWebhook()
	require.NoError(t, err)
	return path
}

var buildWebhook = sync.OnceValues(func() (string, error) { return build("..", "webhook") })

// build compiles the main package in dir, which may belong to another module.
func build(dir, name string) (string, error) {
	path := filepath.Join(programs, name)
	command := exec.Command("go", "build", "-o", path, ".")
	command.Dir = dir
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	command.Stderr = os.Stderr
	return path, command.Run()
}

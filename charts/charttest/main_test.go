// Package charttest compares the Helm chart with the manifests, with the real helm and a real kube-apiserver.
package charttest

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

const (
	chart     = "../kubevirt-hypervisor-exporter"
	manifests = "../../manifests"
	// With this name and namespace the chart makes what the manifests make.
	release        = "hypervisor-exporter"
	usualNamespace = "hypervisor-exporter"
	// The chart has no images of its own.
	withImages = "--values=testdata/images.yaml"
)

var (
	update = flag.Bool("update", false, "write the table of values in docs/install.md")
	server *apiservertest.Server
	client helmClient
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "charttest")
		if err != nil {
			return failed(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if client, err = buildHelm(dir); err != nil {
			return failed(err)
		}
		return apiservertest.Run(m, func(s *apiservertest.Server) { server = s })
	}())
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

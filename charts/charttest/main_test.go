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
	// As on a cluster with the Prometheus operator's CRDs.
	withOperator = "--api-versions=monitoring.coreos.com/v1/PodMonitor,monitoring.coreos.com/v1/PrometheusRule"
	// The chart has no images of its own.
	withImages = "--values=testdata/images.yaml"
)

var (
	update = flag.Bool("update", false, "write the table of values in the chart's README.md")
	server *apiservertest.Server
	// helm 4, and helm 3
	client, client3 helmClient
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "charttest")
		if err != nil {
			return failed(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if client, err = buildHelm(dir, "helm", "helm.sh/helm/v4/cmd/helm"); err != nil {
			return failed(err)
		}
		if client3, err = buildHelm(dir, "helm3", "helm.sh/helm/v3/cmd/helm"); err != nil {
			return failed(err)
		}
		return apiservertest.Run(m, func(s *apiservertest.Server) { server = s })
	}())
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

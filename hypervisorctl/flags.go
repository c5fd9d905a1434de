package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

const (
	// patience is how long one request to the API server may take unless --request-timeout says otherwise: with
	// kubectl's default, no limit, an API server that does not answer would hang the command.
	patience = 30 * time.Second
	// queriesPerSecond is kubectl's own limit of requests; client-go's default is 5.
	queriesPerSecond = 50
	burst            = 300
)

// flags are those of all commands.
type flags struct {
	kube       *genericclioptions.ConfigFlags
	exporter   string
	relay      string
	relayCA    string
	source     string
	chunk      int64
	prometheus prometheusFlags
	now        func() time.Time

	// out and errOut are all that a command writes to.
	out, errOut *terminal.Writer
}

type prometheusFlags struct{ url, tokenFile, caFile string }

func newFlags(out, errOut *terminal.Writer) *flags {
	return &flags{kube: genericclioptions.NewConfigFlags(true), now: time.Now, out: out, errOut: errOut}
}

func (f *flags) add(set *pflag.FlagSet) {
	f.kube.AddFlags(set)
	set.StringVar(&f.exporter, "exporter-namespace", product.Namespace, "namespace that the exporter is installed in")
	set.StringVar(&f.relay, "relay-namespace", product.RelayNamespace, "namespace that the relay is installed in")
	set.StringVar(&f.relayCA, "relay-ca-file", "", "file with the CA of the relay's certificate, instead of the ConfigMap that its PodMonitor names")
	set.StringVar(&f.source, "source", sourceAuto, "where a VM's type comes from: auto, prometheus, relay, exec or none")
	set.Int64Var(&f.chunk, "chunk-size", 500, "how many objects one request for a list asks for")
	set.StringVar(&f.prometheus.url, "prometheus-url", "", "URL of a Prometheus that scrapes the VMs")
	set.StringVar(&f.prometheus.tokenFile, "prometheus-token-file", "", "file with the bearer token for it")
	set.StringVar(&f.prometheus.caFile, "prometheus-ca-file", "", "file with the CA of its certificate")
}

// config says how to reach the API server, as kubectl finds it.
func (f *flags) config() (*rest.Config, error) {
	restConfig, err := f.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server (--kubeconfig, KUBECONFIG): %w", err)
	}
	if restConfig.Timeout == 0 {
		restConfig.Timeout = patience
	}
	restConfig.QPS, restConfig.Burst = queriesPerSecond, burst
	return restConfig, nil
}

// connect makes the client of the cluster.
func (f *flags) connect() (*rest.Config, *cluster.Cluster, error) {
	if f.chunk < 1 {
		return nil, nil, fmt.Errorf("--chunk-size=%d: want 1 or more", f.chunk)
	}
	restConfig, err := f.config()
	if err != nil {
		return nil, nil, err
	}
	connected, err := cluster.New(restConfig, f.chunk)
	return restConfig, connected, err
}

// namespace is that of -n or of the current context.
func (f *flags) namespace() (string, error) {
	namespace, _, err := f.kube.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("find the namespace: %w", err)
	}
	return namespace, nil
}

// examples are command lines as the user would type them.
func examples(lines ...string) string {
	prefix := "  " + displayName(os.Args[0]) + " "
	return prefix + strings.Join(lines, "\n"+prefix)
}

// displayName is how the user calls the program: kubectl runs kubectl-hypervisor for "kubectl hypervisor".
func displayName(path string) string {
	if name := filepath.Base(path); strings.HasPrefix(name, "kubectl-") {
		return strings.ReplaceAll(name, "-", " ")
	}
	return "hypervisorctl"
}

package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubeconfigs with oidc; those with exec need nothing
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

const (
	// requestTimeout is how long one request may take unless --request-timeout sets another limit: with kubectl's default,
	// none, the command would hang if an API server does not answer.
	requestTimeout = 30 * time.Second
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
	set.StringVar(&f.exporter, "exporter-namespace", "", "namespace that the exporter is installed in; empty finds it")
	set.StringVar(&f.relay, "relay-namespace", "", "namespace that the relay is installed in; empty finds it")
	set.StringVar(&f.relayCA, "relay-ca-file", "", "file with the CA of the relay's certificate, instead of the ConfigMap that its PodMonitor names")
	set.StringVar(&f.source, "source", sourceAuto, "where a VM's type comes from: auto, prometheus, relay, exec or none")
	set.Int64Var(&f.chunk, "chunk-size", 500, "how many objects one request for a list returns")
	set.StringVar(&f.prometheus.url, "prometheus-url", "", "URL of a Prometheus that scrapes the VMs")
	set.StringVar(&f.prometheus.tokenFile, "prometheus-token-file", "", "file with a bearer token for that Prometheus")
	set.StringVar(&f.prometheus.caFile, "prometheus-ca-file", "", "file with the CA of that Prometheus' certificate")
}

// session is one run of a command: the flags and the cluster.
type session struct {
	*flags
	config  *rest.Config
	cluster *cluster.Cluster
}

// connect returns a client of the cluster. The API server is the one that kubectl would use.
func (f *flags) connect() (*session, error) {
	if f.chunk < 1 {
		return nil, fmt.Errorf("--chunk-size=%d: must be 1 or more", f.chunk)
	}
	if !slices.Contains(sources(), f.source) {
		return nil, fmt.Errorf("--source=%s: must be one of %s", f.source, strings.Join(sources(), ", "))
	}
	config, err := f.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server (--kubeconfig, KUBECONFIG): %w", err)
	}
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	config.QPS, config.Burst = queriesPerSecond, burst
	connected, err := cluster.New(config, f.chunk)
	return &session{f, config, connected}, err
}

// namespace is that of -n or of the current context.
func (f *flags) namespace() (string, error) {
	namespace, _, err := f.kube.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("find the namespace: %w", err)
	}
	return namespace, nil
}

// survey finds out about the VMIs that one of the options selects; without options, about all. The note is why no source of
// types could be used.
func (s *session) survey(ctx context.Context, namespace string, selected ...metav1.ListOptions) (vms []survey.VM, note string, err error) {
	from, note, err := s.chooseSource(ctx, namespace)
	if err != nil {
		return nil, "", err
	}
	if from != nil {
		defer from.Close()
	}
	request := survey.Request{
		Namespace: namespace, Select: selected, Config: s.webhookConfig(ctx), Enabled: cluster.Once(s.cluster.Enabled), Source: from, Now: s.now(),
		Note: func(err error) { s.note("not known what refused pods: " + err.Error()) }, // once for all VMs
	}
	var done func()
	request.Progress, done = s.errOut.Progress(s.now)
	defer done()
	vms, err = survey.List(ctx, s.cluster, request)
	return vms, note, err
}

// note prints a sentence beside the output. If standard error is closed, the output is left.
func (f *flags) note(text string) { _ = f.errOut.Printf("note: %s\n", text) }

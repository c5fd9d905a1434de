package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
)

// The values of --source.
const (
	sourceAuto       = "auto"
	sourcePrometheus = "prometheus"
	sourceRelay      = "relay"
	sourceExec       = "exec"
	sourceNone       = "none"
)

// sources are whom to ask for types, in order, out of what the user wants and what he may. Where auto finds that one
// cannot be used, it says so and goes on; one that was asked for by name must do.
func (f *flags) sources(ctx context.Context, restConfig *rest.Config, connected *cluster.Cluster, namespace string, notes io.Writer) ([]source.Source, error) {
	one := func(made source.Source, err error) ([]source.Source, error) {
		if err != nil {
			return nil, err
		}
		return []source.Source{made}, nil
	}
	switch f.source {
	case sourceNone:
		return nil, nil
	case sourcePrometheus:
		return one(f.prometheusSource(ctx, namespace))
	case sourceRelay:
		return one(f.relaySource(ctx, restConfig, connected))
	case sourceExec:
		return one(execSource(restConfig, connected), nil)
	case sourceAuto:
		return f.automatic(ctx, restConfig, connected, namespace, notes)
	default:
		return nil, fmt.Errorf("--source=%s: want auto, prometheus, relay, exec or none", f.source)
	}
}

// automatic takes Prometheus where its address is given, since it is cheap, and otherwise the relay. Neither touches a
// VM's pod. Exec does: it is for whoever asks for it.
func (f *flags) automatic(ctx context.Context, restConfig *rest.Config, connected *cluster.Cluster, namespace string, notes io.Writer) ([]source.Source, error) {
	if f.prometheus.url != "" {
		made, err := f.prometheusSource(ctx, namespace)
		if err != nil {
			return nil, err
		}
		return []source.Source{made}, nil
	}
	relay, err := f.relaySource(ctx, restConfig, connected)
	if err != nil {
		// Standard error may be gone; the list is not.
		_, _ = fmt.Fprintf(notes, "note: no types, since the relay is not asked: %s; see --source, of which exec is for the owner of a namespace\n", err)
		return nil, nil
	}
	return []source.Source{relay}, nil
}

func (f *flags) prometheusSource(ctx context.Context, namespace string) (source.Source, error) {
	transport, err := f.prometheus.transport(patience)
	if err != nil {
		return nil, err
	}
	return source.NewPrometheus(ctx, f.prometheus.url, namespace, transport)
}

func execSource(restConfig *rest.Config, connected *cluster.Cluster) source.Source {
	return source.NewExec(restConfig, func(ctx context.Context, namespace string) (bool, error) {
		return connected.May(ctx, "create", "pods", "exec", namespace)
	})
}

// relaySource is there for whoever may forward a port to the relay's pods, and knows by whom its certificate is signed.
func (f *flags) relaySource(ctx context.Context, restConfig *rest.Config, connected *cluster.Cluster) (source.Source, error) {
	may, err := connected.May(ctx, "create", "pods", "portforward", f.relay)
	if err != nil {
		return nil, err
	}
	if !may {
		return nil, fmt.Errorf("you may not create pods/portforward in the namespace %s (try: kubectl auth can-i create pods/portforward -n %s)", f.relay, f.relay)
	}
	pods, err := connected.Pods(ctx, f.relay, product.RelaySelector)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("none runs in the namespace %s", f.relay)
	}
	trust, err := f.relayTrust(ctx, connected)
	if err != nil {
		return nil, err
	}
	if trust.HTTPS && !showsToken(restConfig) {
		return nil, errNoToken
	}
	byNode := map[string]string{}
	for i := range pods {
		if pods[i].DeletionTimestamp == nil {
			byNode[pods[i].Spec.NodeName] = pods[i].Name
		}
	}
	return source.NewRelay(restConfig, f.relay, trust, byNode), nil
}

// errNoToken names a token that the relay takes; whoever may do everything in the cluster may have it made.
var errNoToken = errors.New("your kubeconfig gives no token, as with a client certificate, and the relay wants one (try: --token=$(kubectl create token hypervisor-exporter-scraper -n hypervisor-exporter-relay))")

// showsToken says whether a bearer token may come of the credentials; of a plugin or a provider nobody knows before.
func showsToken(restConfig *rest.Config) bool {
	return restConfig.BearerToken != "" || restConfig.BearerTokenFile != "" || restConfig.ExecProvider != nil || restConfig.AuthProvider != nil
}

func (f *flags) relayTrust(ctx context.Context, connected *cluster.Cluster) (cluster.RelayTrust, error) {
	if f.relayCA == "" {
		return connected.RelayTrust(ctx, f.relay, nil)
	}
	authority, err := os.ReadFile(f.relayCA)
	if err != nil {
		return cluster.RelayTrust{}, fmt.Errorf("read --relay-ca-file: %w", err)
	}
	return connected.RelayTrust(ctx, f.relay, authority)
}

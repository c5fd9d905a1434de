package main

import (
	"context"
	"fmt"
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

// chooseSource makes the source of types that the user wants and may use, or returns nil and a note that says why there is
// none. A source that was named must work.
func (f *flags) chooseSource(ctx context.Context, restConfig *rest.Config, connected *cluster.Cluster, namespace string) (from source.Source, note string, err error) {
	switch {
	case f.source == sourceNone:
		return nil, "", nil
	case f.source == sourcePrometheus, f.source == sourceAuto && f.prometheus.url != "": // it is cheap
		from, err = f.prometheusSource(ctx, namespace)
		return from, "", err
	case f.source == sourceRelay:
		from, err = f.relaySource(ctx, restConfig, connected)
		return from, "", err
	case f.source == sourceExec: // it starts a process in the VM's pod, so auto never uses it
		return execSource(restConfig, connected), "", nil
	case f.source == sourceAuto:
		from, err = f.relaySource(ctx, restConfig, connected)
		if err != nil {
			return nil, fmt.Sprintf("the relay cannot be asked: %s; other sources (--source) are prometheus, and exec for the owner of a namespace", err), nil
		}
		return from, "", nil
	default:
		return nil, "", fmt.Errorf("--source=%s: want auto, prometheus, relay, exec or none", f.source)
	}
}

func (f *flags) prometheusSource(ctx context.Context, namespace string) (source.Source, error) {
	transport, err := f.prometheus.transport(patience)
	if err != nil {
		return nil, err
	}
	made, err := source.NewPrometheus(ctx, f.prometheus.url, namespace, transport)
	if err != nil {
		return nil, err // not made: a nil pointer in an interface is not nil
	}
	return made, nil
}

func execSource(restConfig *rest.Config, connected *cluster.Cluster) source.Source {
	return source.NewExec(restConfig, func(ctx context.Context, namespace string) (bool, error) {
		return connected.May(ctx, "create", "pods", "exec", namespace)
	})
}

// relaySource needs the rights of the Role hypervisorctl-relay (rbac.yaml): a port-forward to the relay's pods, the CA of
// its certificate, and a token for it.
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
	byNode := map[string]string{}
	for i := range pods {
		if pods[i].DeletionTimestamp == nil {
			byNode[pods[i].Spec.NodeName] = pods[i].Name
		}
	}
	if len(byNode) == 0 {
		return nil, fmt.Errorf("no relay runs in the namespace %s", f.relay)
	}
	trust, err := f.relayTrust(ctx, connected)
	if err != nil {
		return nil, err
	}
	token := connected.RelayToken(f.relay)
	if trust.HTTPS { // so that a missing right is named once, and not for each VM
		if _, err := token(ctx); err != nil {
			return nil, err
		}
	}
	return source.NewRelay(source.RelayConfig{Config: restConfig, Namespace: f.relay, Trust: trust, Pods: byNode, Token: token}), nil
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

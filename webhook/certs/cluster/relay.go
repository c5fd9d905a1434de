package cluster

import (
	"context"
	"fmt"
	"log/slog"

	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/webhook/certs/pki"
	"kubevirt-hypervisor-exporter/webhook/certs/rotation"
)

// RelayNames are the objects a Relay may touch.
type RelayNames struct {
	Namespace       string
	AuthoritySecret string
	ServingSecret   string
}

// Relay implements rotation.Cluster and rotation.Replicas for the node relay,
// which Prometheus calls and no API server: what a caBundle is to the webhook,
// ca.crt in the serving Secret is here. Prometheus verifies the relay by it
// (PodMonitor tlsConfig.ca). It needs get and patch on the two Secrets.
type Relay struct{ secrets *Cluster }

// NewRelay makes a Relay that speaks to the API server of config.
func NewRelay(config *rest.Config, names RelayNames, logger *slog.Logger) (Relay, error) {
	secrets, err := New(config, Names{
		Namespace:       names.Namespace,
		AuthoritySecret: names.AuthoritySecret,
		ServingSecret:   names.ServingSecret,
	}, logger)
	return Relay{secrets}, err
}

// Read gets the two Secrets.
func (r Relay) Read(ctx context.Context) (rotation.Snapshot, error) {
	var snapshot rotation.Snapshot
	var err error
	if snapshot.Authority, err = r.secrets.readSecret(ctx, r.secrets.names.AuthoritySecret); err != nil {
		return snapshot, err
	}
	snapshot.Serving, err = r.secrets.readSecret(ctx, r.secrets.names.ServingSecret)
	snapshot.Webhooks = rotation.Webhooks{
		Version: snapshot.Serving.Version,
		Names:   []string{rotation.TrustKey},
		Bundles: [][]byte{snapshot.Serving.Data[rotation.TrustKey]},
	}
	return snapshot, err
}

// WriteAuthority changes keys of the authority's Secret.
func (r Relay) WriteAuthority(ctx context.Context, version string, data map[string][]byte) error {
	return r.secrets.WriteAuthority(ctx, version, data)
}

// WriteServing changes keys of the serving Secret.
func (r Relay) WriteServing(ctx context.Context, version string, data map[string][]byte) error {
	return r.secrets.WriteServing(ctx, version, data)
}

// WriteBundle puts the bundle where Prometheus takes it from.
func (r Relay) WriteBundle(ctx context.Context, trust rotation.Webhooks, bundle []byte) error {
	if err := r.WriteServing(ctx, trust.Version, map[string][]byte{rotation.TrustKey: bundle}); err != nil {
		return fmt.Errorf("publish the relay's authorities: %w", err)
	}
	return nil
}

// Watch waits for the end: what becomes of the Secret is seen at the next look,
// and to watch Secrets is a right that we do not have.
func (r Relay) Watch(ctx context.Context, _ func()) { <-ctx.Done() }

// Confirm takes every relay for changed over: there is one a node, some perhaps out
// of reach, and none may be asked. The policy's Settle has to be longer than a
// kubelet takes to bring a Secret to a pod.
func (r Relay) Confirm(context.Context, pki.Bundle) error { return nil }

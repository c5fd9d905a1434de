package cluster

import (
	"context"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/webhook/certs/rotation"
)

// RelayNames are the objects a Relay may touch.
type RelayNames struct {
	Namespace       string
	AuthoritySecret string
	ServingSecret   string
	TrustConfigMap  string
}

// Relay implements rotation.Cluster and rotation.Replicas for the node relay,
// which Prometheus calls and no API server: what a caBundle is to the webhook, a
// ConfigMap is here. Prometheus verifies the relay by its ca.crt (PodMonitor
// tlsConfig.ca), and so does hypervisorctl: neither has to read a Secret that holds
// a key. It needs get and patch on the two Secrets and the ConfigMap.
type Relay struct {
	secrets *Cluster
	trust   string
}

type configMap struct {
	Metadata metadata          `json:"metadata"`
	Data     map[string]string `json:"data"`
}

// NewRelay makes a Relay that speaks to the API server of config.
func NewRelay(config *rest.Config, names RelayNames, logger *slog.Logger) (Relay, error) {
	secrets, err := New(config, Names{
		Namespace:       names.Namespace,
		AuthoritySecret: names.AuthoritySecret,
		ServingSecret:   names.ServingSecret,
	}, logger)
	return Relay{secrets, names.TrustConfigMap}, err
}

// Read gets the three objects.
func (r Relay) Read(ctx context.Context) (rotation.Snapshot, error) {
	var snapshot rotation.Snapshot
	var err error
	if snapshot.Authority, err = r.secrets.readSecret(ctx, r.secrets.names.AuthoritySecret); err != nil {
		return snapshot, err
	}
	if snapshot.Serving, err = r.secrets.readSecret(ctx, r.secrets.names.ServingSecret); err != nil {
		return snapshot, err
	}
	snapshot.Webhooks, err = r.readTrust(ctx)
	return snapshot, err
}

func (r Relay) readTrust(ctx context.Context) (rotation.Webhooks, error) {
	var found configMap
	err := r.secrets.get(ctx, &found, namespacesPath, r.secrets.names.Namespace, "configmaps", r.trust)
	if apierrors.IsNotFound(err) {
		return rotation.Webhooks{}, fmt.Errorf("configmap %s/%s does not exist: apply the manifests again, they bring it empty (creating it is more than we may): %w", r.secrets.names.Namespace, r.trust, err)
	}
	if err != nil {
		return rotation.Webhooks{}, fmt.Errorf("read configmap %s/%s: %w", r.secrets.names.Namespace, r.trust, err)
	}
	return rotation.Webhooks{
		Version: found.Metadata.ResourceVersion,
		Names:   []string{r.trust},
		Bundles: [][]byte{[]byte(found.Data[rotation.TrustKey])},
	}, nil
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
	change := configMap{metadata{trust.Version}, map[string]string{rotation.TrustKey: string(bundle)}}
	err := r.secrets.patch(ctx, types.MergePatchType, change, namespacesPath, r.secrets.names.Namespace, "configmaps", r.trust)
	if err != nil {
		return fmt.Errorf("publish the relay's authorities in configmap %s/%s: %w", r.secrets.names.Namespace, r.trust, err)
	}
	return nil
}

// Watch waits for the end: what becomes of the ConfigMap is seen at the next look,
// and to watch is a right that we do not have.
func (r Relay) Watch(ctx context.Context, _ func()) { <-ctx.Done() }

// Confirm takes every relay for changed over: there is one a node, some perhaps out
// of reach, and none may be asked. The policy's Settle has to be longer than a
// kubelet takes to bring a Secret to a pod.
func (r Relay) Confirm(context.Context, pki.Bundle) error { return nil }

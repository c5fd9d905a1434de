// Package cluster is what the rotation does to the outside world: it reads and
// patches two Secrets and one webhook configuration, and looks at what the
// serving replicas show.
//
// It speaks to the API server through client-go's rest package alone, which
// brings the in-cluster token, its renewal and the connection, and decodes the
// few fields it needs itself. The typed clients would add 11 MB to the binary
// that also serves, and 8 MB to its memory (both measured, client-go v0.37.2).
package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/webhook/certs/rotation"
)

const (
	namespacesPath = "/api/v1/namespaces"
	webhooksPath   = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	// fieldManager is what managedFields call us.
	fieldManager = "hypervisor-exporter-webhook-certs"
)

// Names are the objects a Cluster may touch: the resourceNames of its Roles.
type Names struct {
	Namespace            string
	AuthoritySecret      string
	ServingSecret        string
	WebhookConfiguration string
}

// Cluster implements rotation.Cluster. It needs get and patch on the two
// Secrets, and get, watch and patch on the webhook configuration. It never
// creates: a right to create cannot be limited to a name, so the manifests
// bring the Secrets, empty. What a patch may change is limited once more, by the
// policy in manifests/certs/policy.yaml: a new write here needs it too.
type Cluster struct {
	client *rest.RESTClient
	names  Names
	logger *slog.Logger
}

// New makes a Cluster that speaks to the API server of config.
func New(config *rest.Config, names Names, logger *slog.Logger) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	config.UserAgent = fieldManager
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	return &Cluster{client: client, names: names, logger: logger}, nil
}

type metadata struct {
	ResourceVersion string `json:"resourceVersion"`
}

type secret struct {
	Metadata metadata          `json:"metadata"`
	Data     map[string][]byte `json:"data"`
}

type clientConfig struct {
	CABundle []byte `json:"caBundle"`
}

type webhook struct {
	Name         string       `json:"name"`
	ClientConfig clientConfig `json:"clientConfig"`
}

type configuration struct {
	Metadata metadata  `json:"metadata"`
	Webhooks []webhook `json:"webhooks"`
}

// Read gets the three objects.
func (c *Cluster) Read(ctx context.Context) (rotation.Snapshot, error) {
	var snapshot rotation.Snapshot
	var err error
	if snapshot.Authority, err = c.readSecret(ctx, c.names.AuthoritySecret); err != nil {
		return snapshot, err
	}
	if snapshot.Serving, err = c.readSecret(ctx, c.names.ServingSecret); err != nil {
		return snapshot, err
	}
	snapshot.Webhooks, err = c.readWebhooks(ctx)
	return snapshot, err
}

func (c *Cluster) readSecret(ctx context.Context, name string) (rotation.Secret, error) {
	var s secret
	err := c.get(ctx, &s, namespacesPath, c.names.Namespace, "secrets", name)
	if apierrors.IsNotFound(err) {
		return rotation.Secret{}, fmt.Errorf("secret %s/%s does not exist: apply the manifests again, they bring it empty (creating it is more than we may): %w", c.names.Namespace, name, err)
	}
	if err != nil {
		return rotation.Secret{}, fmt.Errorf("read secret %s/%s: %w", c.names.Namespace, name, err)
	}
	return rotation.Secret{Version: s.Metadata.ResourceVersion, Data: s.Data}, nil
}

// readWebhooks gives nothing, and no error, when there is no configuration:
// the certificates can be ready before anyone calls.
func (c *Cluster) readWebhooks(ctx context.Context) (rotation.Webhooks, error) {
	var found configuration
	err := c.get(ctx, &found, webhooksPath, c.names.WebhookConfiguration)
	if apierrors.IsNotFound(err) {
		return rotation.Webhooks{}, nil
	}
	if err != nil {
		return rotation.Webhooks{}, fmt.Errorf("read webhook configuration %s: %w", c.names.WebhookConfiguration, err)
	}
	out := rotation.Webhooks{Version: found.Metadata.ResourceVersion}
	for _, w := range found.Webhooks {
		out.Names = append(out.Names, w.Name)
		out.Bundles = append(out.Bundles, w.ClientConfig.CABundle)
	}
	return out, nil
}

func (c *Cluster) get(ctx context.Context, into any, path ...string) error {
	body, err := c.client.Get().AbsPath(path...).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// WriteAuthority changes keys of the authority's Secret.
func (c *Cluster) WriteAuthority(ctx context.Context, version string, data map[string][]byte) error {
	return c.writeSecret(ctx, c.names.AuthoritySecret, version, data)
}

// WriteServing changes keys of the serving Secret.
func (c *Cluster) WriteServing(ctx context.Context, version string, data map[string][]byte) error {
	return c.writeSecret(ctx, c.names.ServingSecret, version, data)
}

func (c *Cluster) writeSecret(ctx context.Context, name, version string, data map[string][]byte) error {
	err := c.patch(ctx, types.MergePatchType, secret{metadata{version}, data}, namespacesPath, c.names.Namespace, "secrets", name)
	if err != nil {
		return fmt.Errorf("write secret %s/%s: %w", c.names.Namespace, name, err)
	}
	return nil
}

// WriteBundle puts the bundle into every webhook. A strategic merge patch finds
// the webhooks by name (patchMergeKey of MutatingWebhookConfiguration.webhooks)
// and leaves every other field alone, also those that are newer than we are.
func (c *Cluster) WriteBundle(ctx context.Context, webhooks rotation.Webhooks, bundle []byte) error {
	change := configuration{Metadata: metadata{webhooks.Version}}
	for _, name := range webhooks.Names {
		change.Webhooks = append(change.Webhooks, webhook{name, clientConfig{bundle}})
	}
	err := c.patch(ctx, types.StrategicMergePatchType, change, webhooksPath, c.names.WebhookConfiguration)
	if err != nil {
		return fmt.Errorf("write webhook configuration %s: %w", c.names.WebhookConfiguration, err)
	}
	return nil
}

// patch is refused by the API server with a conflict when the resourceVersion
// in the body is not the object's any more.
func (c *Cluster) patch(ctx context.Context, kind types.PatchType, change any, path ...string) error {
	body, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	err = c.client.Patch(kind).AbsPath(path...).
		SetHeader("Accept", "application/json").
		Param("fieldManager", fieldManager).
		Body(body).Do(ctx).Error()
	if apierrors.IsConflict(err) {
		return fmt.Errorf("%w: %w", rotation.ErrConflict, err)
	}
	return err
}

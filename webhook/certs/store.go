package certs

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
)

const (
	namespacesPath = "/api/v1/namespaces"
	webhooksPath   = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	// fieldManager is our name in managedFields.
	fieldManager = "hypervisor-exporter-webhook-certs"
)

// Names are the objects that a KubeStore may use: the resourceNames of its Roles.
type Names struct {
	Namespace     string
	CASecret      string
	ServingSecret string
	// WebhookConfiguration gets the bundle into its caBundles; empty for the relay.
	WebhookConfiguration string
	// TrustConfigMap gets the bundle into its ca.crt; empty for the webhook. Prometheus verifies the relay by it
	// (PodMonitor tlsConfig.ca), and so does hypervisorctl: neither has to read a Secret that holds a key.
	TrustConfigMap string
}

// KubeStore implements Store with an API server. It needs get and patch on the two Secrets, and either get, watch and
// patch on the webhook configuration or get and patch on the ConfigMap. It never creates: a right to create cannot be
// limited to a name, so the manifests bring the objects, empty. What a patch may change is limited once more, by the
// policy in manifests/certs/policy.yaml: a new write here needs it too.
//
// It uses client-go's rest package alone, which brings the in-cluster token, its renewal and the connection, and decodes
// the few fields it needs itself. The typed clients would add 11 MB to the binary that also serves, and 8 MB to its
// memory (both measured, client-go v0.37.2).
type KubeStore struct {
	client *rest.RESTClient
	names  Names
	logger *slog.Logger
}

// NewKubeStore makes a KubeStore for the API server of config.
func NewKubeStore(config *rest.Config, names Names, logger *slog.Logger) (*KubeStore, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	config.UserAgent = fieldManager
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	return &KubeStore{client: client, names: names, logger: logger}, nil
}

type metadata struct {
	ResourceVersion string `json:"resourceVersion"`
}

// data is a Secret, whose values are bytes, or a ConfigMap, whose values are strings.
type data[T []byte | string] struct {
	Metadata metadata     `json:"metadata"`
	Data     map[string]T `json:"data"`
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

func (s *KubeStore) path(resource, name string) []string {
	return []string{namespacesPath, s.names.Namespace, resource, name}
}

// Read gets the three objects.
func (s *KubeStore) Read(ctx context.Context) (Snapshot, error) {
	var snapshot Snapshot
	var err error
	if snapshot.CA, err = s.readSecret(ctx, s.names.CASecret); err != nil {
		return snapshot, err
	}
	if snapshot.Serving, err = s.readSecret(ctx, s.names.ServingSecret); err != nil {
		return snapshot, err
	}
	if s.names.TrustConfigMap != "" {
		snapshot.Published, err = s.readConfigMap(ctx)
	} else {
		snapshot.Published, err = s.readWebhooks(ctx)
	}
	return snapshot, err
}

func (s *KubeStore) readSecret(ctx context.Context, name string) (Secret, error) {
	var found data[[]byte]
	err := s.getOwn(ctx, &found, "secrets", name)
	return Secret{Version: found.Metadata.ResourceVersion, Data: found.Data}, err
}

func (s *KubeStore) readConfigMap(ctx context.Context) (Published, error) {
	var found data[string]
	err := s.getOwn(ctx, &found, "configmaps", s.names.TrustConfigMap)
	return Published{
		Version: found.Metadata.ResourceVersion,
		Names:   []string{s.names.TrustConfigMap},
		Bundles: [][]byte{[]byte(found.Data[TrustKey])},
	}, err
}

// readWebhooks returns nothing, and no error, if there is no configuration: the certificates may be ready before any API
// server calls.
func (s *KubeStore) readWebhooks(ctx context.Context) (Published, error) {
	var found configuration
	err := s.get(ctx, &found, webhooksPath, s.names.WebhookConfiguration)
	if apierrors.IsNotFound(err) {
		return Published{}, nil
	}
	if err != nil {
		return Published{}, fmt.Errorf("read webhook configuration %s: %w", s.names.WebhookConfiguration, err)
	}
	out := Published{Version: found.Metadata.ResourceVersion}
	for _, w := range found.Webhooks {
		out.Names = append(out.Names, w.Name)
		out.Bundles = append(out.Bundles, w.ClientConfig.CABundle)
	}
	return out, nil
}

// getOwn gets an object that the manifests bring.
func (s *KubeStore) getOwn(ctx context.Context, into any, resource, name string) error {
	err := s.get(ctx, into, s.path(resource, name)...)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s %s/%s does not exist; apply the manifests again: they bring it empty, and this process has no right to create it: %w",
			resource, s.names.Namespace, name, err)
	}
	if err != nil {
		return fmt.Errorf("read %s %s/%s: %w", resource, s.names.Namespace, name, err)
	}
	return nil
}

func (s *KubeStore) get(ctx context.Context, into any, path ...string) error {
	body, err := s.client.Get().AbsPath(path...).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// WriteCA changes keys of the CA's Secret.
func (s *KubeStore) WriteCA(ctx context.Context, version string, changes map[string][]byte) error {
	return s.patch(ctx, types.MergePatchType, data[[]byte]{metadata{version}, changes}, s.path("secrets", s.names.CASecret)...)
}

// WriteServing changes keys of the serving Secret.
func (s *KubeStore) WriteServing(ctx context.Context, version string, changes map[string][]byte) error {
	return s.patch(ctx, types.MergePatchType, data[[]byte]{metadata{version}, changes}, s.path("secrets", s.names.ServingSecret)...)
}

// WriteBundle writes the bundle into the ConfigMap or into every webhook. A strategic merge patch finds the webhooks by
// name (patchMergeKey of MutatingWebhookConfiguration.webhooks) and changes no other field, not even one that is newer
// than this program.
func (s *KubeStore) WriteBundle(ctx context.Context, into Published, bundle []byte) error {
	if s.names.TrustConfigMap != "" {
		change := data[string]{metadata{into.Version}, map[string]string{TrustKey: string(bundle)}}
		return s.patch(ctx, types.MergePatchType, change, s.path("configmaps", s.names.TrustConfigMap)...)
	}
	change := configuration{Metadata: metadata{into.Version}}
	for _, name := range into.Names {
		change.Webhooks = append(change.Webhooks, webhook{name, clientConfig{bundle}})
	}
	return s.patch(ctx, types.StrategicMergePatchType, change, webhooksPath, s.names.WebhookConfiguration)
}

// patch is refused by the API server with a conflict if the resourceVersion in the body is no longer the object's.
func (s *KubeStore) patch(ctx context.Context, kind types.PatchType, change any, path ...string) error {
	body, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	request := s.client.Patch(kind).AbsPath(path...).SetHeader("Accept", "application/json").Param("fieldManager", fieldManager)
	err = request.Body(body).Do(ctx).Error()
	if apierrors.IsConflict(err) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", request.URL().Path, err)
	}
	return nil
}

package apiservertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// fieldManager names the tests in managedFields.
const fieldManager = "apiservertest"

// Namespace creates a namespace with the labels, whose name begins with the prefix, and its default service account,
// which no controller makes here and without which no pod is admitted.
func (s *Server) Namespace(t testing.TB, prefix string, labels map[string]string) string {
	t.Helper()
	namespace, err := s.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-", Labels: labels},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	s.DefaultServiceAccount(t, namespace.Name)
	return namespace.Name
}

// DefaultServiceAccount makes the service account "default" in a namespace that came about without Namespace.
func (s *Server) DefaultServiceAccount(t testing.TB, namespace string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	_, err := s.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{})
	require.NoError(t, err)
}

// Token returns a token of a service account that exists, as the kubelet would mount it.
func (s *Server) Token(t testing.TB, namespace, serviceAccount string) string {
	t.Helper()
	request, err := s.Client.CoreV1().ServiceAccounts(namespace).CreateToken(
		t.Context(), serviceAccount, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	return request.Status.Token
}

// As returns a client that speaks with the bearer token.
func (s *Server) As(t testing.TB, token string) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(s.Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

// Apply applies the object as `kubectl apply --server-side --validate=strict` does: an unknown or repeated field is
// an error.
func (s *Server) Apply(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := s.resource(object)
	if err != nil {
		return err
	}
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", describe(object), err)
	}
	force := true
	_, err = resource.Patch(ctx, object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict, Force: &force,
	})
	if err != nil {
		return fmt.Errorf("apply %s: %w", describe(object), err)
	}
	return nil
}

// Create creates the object and returns it as stored.
func (s *Server) Create(ctx context.Context, object *unstructured.Unstructured, options metav1.CreateOptions) (*unstructured.Unstructured, error) {
	resource, err := s.resource(object)
	if err != nil {
		return nil, err
	}
	options.FieldValidation = metav1.FieldValidationStrict
	return resource.Create(ctx, object, options)
}

// UpdateStatus writes the status of an object, whose definition must have that subresource.
func (s *Server) UpdateStatus(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := s.resource(object)
	if err != nil {
		return err
	}
	_, err = resource.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	return err
}

// Patch changes an object.
func (s *Server) Patch(ctx context.Context, object *unstructured.Unstructured, kind types.PatchType, patch []byte) error {
	resource, err := s.resource(object)
	if err != nil {
		return err
	}
	_, err = resource.Patch(ctx, object.GetName(), kind, patch, metav1.PatchOptions{})
	return err
}

// Get returns the object of the same kind and name as the API server has it.
func (s *Server) Get(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := s.resource(object)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, object.GetName(), metav1.GetOptions{})
}

// Delete deletes the object.
func (s *Server) Delete(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := s.resource(object)
	if err != nil {
		return err
	}
	return resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{})
}

func (s *Server) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) { // its CustomResourceDefinition may be new
		s.mapper.Reset()
		mapping, err = s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("find the resource of %s: %w", describe(object), err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return s.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
	}
	return s.dynamic.Resource(mapping.Resource), nil
}

func describe(object *unstructured.Unstructured) string {
	return strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
}

// Objects reads a stream of YAML documents.
func Objects(r io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}
		if len(object.Object) > 0 { // an empty document between two separators
			objects = append(objects, object)
		}
	}
}

// MachineAddress returns an address of this machine at which the API server calls a Service: it refuses loopback.
func MachineAddress(t testing.TB) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	require.Fail(t, "this machine has no IPv4 address but loopback (ip address add 192.0.2.2/32 dev lo)")
	return ""
}

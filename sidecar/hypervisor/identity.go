package hypervisor

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// The environment variables that carry a VMI's identity. The webhook fills
// them from the downward API.
const (
	EnvNamespace = "VMI_NAMESPACE"
	EnvName      = "VMI_NAME"
	EnvNode      = "NODE_NAME"
)

// Identity says whose metrics these are. An Identity from NewIdentity is one
// that the API server could have given to a VMI on a node.
type Identity struct {
	Namespace string
	Name      string
	Node      string
}

// NewIdentity checks the three names by the API server's own rules: a namespace
// is a DNS label of at most 63 characters, a VMI's and a node's name are DNS
// subdomains of at most 253. The error names each variable that is missing or
// invalid; the Identity is then the zero value.
func NewIdentity(namespace, name, node string) (Identity, error) {
	err := errors.Join(
		checkName(EnvNamespace, namespace, content.IsDNS1123Label),
		checkName(EnvName, name, content.IsDNS1123Subdomain),
		checkName(EnvNode, node, content.IsDNS1123Subdomain),
	)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Namespace: namespace, Name: name, Node: node}, nil
}

// Valid reports whether the identity names a VMI.
func (id Identity) Valid() bool { return id != Identity{} }

// DomainName is the name that KubeVirt gives the VMI's libvirt domain
// (KubeVirt pkg/util, VMINamespaceKeyFunc: namespace, underscore, name).
func (id Identity) DomainName() string { return id.Namespace + "_" + id.Name }

func checkName(variable, value string, rule func(string) []string) error {
	if value == "" {
		return fmt.Errorf("environment variable %s is missing: set it by the downward API", variable)
	}
	if problems := rule(value); len(problems) > 0 {
		return fmt.Errorf("environment variable %s is invalid: %s", variable, strings.Join(problems, "; "))
	}
	return nil
}

package charttest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// value is a key of values.yaml with a comment of its own.
type value struct {
	path    string
	comment string
	// what is the default, as YAML in one line.
	what string
}

// documentedValues reads values.yaml. Each value must have a comment, or one of what it is a part of.
func documentedValues(t *testing.T) []value {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	require.NoError(t, err)
	var document yaml.Node
	require.NoError(t, yaml.Unmarshal(content, &document))
	return valuesIn(t, document.Content[0], nil)
}

func valuesIn(t *testing.T, mapping *yaml.Node, path []string) []value {
	t.Helper()
	var values []value
	for i := 0; i < len(mapping.Content); i += 2 {
		key, node := mapping.Content[i], mapping.Content[i+1]
		here := append(slices.Clone(path), key.Value)
		comment := strings.TrimPrefix(key.HeadComment, "# ")
		if comment == "" {
			require.Equal(t, yaml.MappingNode, node.Kind, "%v has no comment", here)
			require.NotEmpty(t, node.Content, "%v has no comment", here)
			values = append(values, valuesIn(t, node, here)...)
			continue
		}
		require.NotContains(t, comment, "\n", "%v: one line, for the table", here)
		values = append(values, value{path: strings.Join(here, "."), comment: comment, what: inline(t, node)})
	}
	return values
}

// inline is the node in one line.
func inline(t *testing.T, node *yaml.Node) string {
	t.Helper()
	flow(node)
	text, err := yaml.Marshal(node)
	require.NoError(t, err)
	return strings.TrimSpace(string(text))
}

func flow(node *yaml.Node) {
	node.Style |= yaml.FlowStyle
	for _, child := range node.Content {
		flow(child)
	}
}

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// others are values that are allowed and not the default, as JSON.
var others = map[string]string{
	"exposure":                           `"direct"`,
	"injector":                           `"admissionPolicy"`,
	"openshift":                          `true`,
	"images.pullSecrets":                 `["mirror"]`,
	"images.webhook.repository":          `"registry.example:5000/webhook"`,
	"images.webhook.tag":                 `"v9"`,
	"images.webhook.digest":              `"` + someDigest + `"`,
	"images.webhook.pullPolicy":          `"Always"`,
	"images.relay.repository":            `"registry.example:5000/relay"`,
	"images.relay.tag":                   `"v9"`,
	"images.relay.digest":                `"` + someDigest + `"`,
	"images.relay.pullPolicy":            `"Always"`,
	"images.sidecar.repository":          `"registry.example:5000/sidecar"`,
	"images.sidecar.tag":                 `"v9"`,
	"images.sidecar.digest":              `"` + someDigest + `"`,
	"images.sidecar.pullPolicy":          `"Always"`,
	"images.sidecar.requiredPullSecrets": `["mirror", "other"]`,
	"webhook.replicas":                   `3`,
	"webhook.logLevel":                   `"debug"`,
	"webhook.resources":                  `{"requests": {"cpu": "20m"}}`,
	"webhook.nodeSelector":               `{"zone": "a"}`,
	"webhook.tolerations":                `[{"key": "control-plane", "operator": "Exists"}]`,
	"webhook.priorityClassName":          `"important"`,
	"webhook.affinity":                   `{"podAntiAffinity": {}}`,
	"relay.namespace.name":               `"relays"`,
	"relay.namespace.create":             `false`,
	"relay.authorization":                `"none"`,
	"relay.hostNetwork":                  `true`,
	"relay.kubeletPodsDir":               `"/data/kubelet/pods"`,
	"relay.logLevel":                     `"debug"`,
	"relay.resources":                    `{"requests": {"cpu": "20m"}}`,
	"relay.nodeSelector":                 `{"kubevirt.io/vms": "true"}`,
	"relay.nodeExpressions":              `[{"key": "gpu", "operator": "DoesNotExist"}]`,
	"relay.maxUnavailable":               `5`,
	"relay.priorityClassName":            `"system-node-critical"`,
	"relay.tolerations":                  `[]`,
	"certificates.source":                `"certManager"`,
	"certificates.logLevel":              `"debug"`,
	"certificates.resources":             `{"requests": {"cpu": "20m"}}`,
	"certificates.nodeSelector":          `{"zone": "a"}`,
	"certificates.tolerations":           `[{"key": "control-plane", "operator": "Exists"}]`,
	"certificates.priorityClassName":     `"important"`,
	"certificates.affinity":              `{"podAntiAffinity": {}}`,
	"networkPolicies.enabled":            `false`,
	"networkPolicies.webhookFrom":        `[{"ipBlock": {"cidr": "192.0.2.1/32"}}]`,
	"networkPolicies.metricsFrom":        `[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]`,
	"networkPolicies.relayFrom":          `[{"ipBlock": {"cidr": "192.0.2.0/24"}}]`,
	"networkPolicies.apiServer":          `[{"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 6443}]}]`,
	"monitoring.docsURL":                 `"https://docs.example.com"`,
	"monitoring.podMonitors.enabled":     `false`,
	"monitoring.podMonitors.labels":      `{"release": "prometheus"}`,
	"monitoring.prometheusRule.enabled":  `false`,
	"monitoring.prometheusRule.labels":   `{"release": "prometheus"}`,
	"monitoring.dashboard.enabled":       `false`,
	"monitoring.dashboard.labels":        `{"grafana_dashboard": "yes"}`,
}

// Every value is documented, allowed by the schema and read by a template; and the tests know of every one.
func TestEveryValueHasAnEffect(t *testing.T) {
	usual, err := client.template(t.Context())
	require.NoError(t, err)
	var known []string
	for _, value := range documentedValues(t) {
		known = append(known, value.path)
		require.Contains(t, others, value.path)
		// A pull secret alone is refused, see refusals.yaml.
		output, err := client.template(t.Context(), "--kube-version=v1.34.0", "--set-json="+value.path+"="+others[value.path])
		require.NoError(t, err)
		require.NotEqual(t, usual, output, value.path)
	}
	for path := range others {
		require.Contains(t, known, path)
	}
}

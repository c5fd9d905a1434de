package charttest

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// value is a key of values.yaml that has a comment.
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

// inline returns the node in one line.
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
	"exposure":                                   `"direct"`,
	"injector":                                   `"admissionPolicy"`,
	"openshift":                                  `true`,
	"commonLabels":                               `{"team": "virtualization"}`,
	"global.imageRegistry":                       `"mirror.example:5000/proxy"`,
	"global.imagePullSecrets":                    `[{"name": "mirror"}, "other"]`,
	"webhook.extraArgs":                          `["--log-format=logfmt", "--sidecar-memory=32Mi"]`,
	"webhook.podLabels":                          `{"cost-center": "a"}`,
	"webhook.podAnnotations":                     `{"example.com/a": "b"}`,
	"webhook.serviceAccount.annotations":         `{"example.com/a": "b"}`,
	"relay.extraArgs":                            `["--log-format=logfmt"]`,
	"relay.podLabels":                            `{"cost-center": "a"}`,
	"relay.podAnnotations":                       `{"example.com/a": "b"}`,
	"relay.serviceAccount.annotations":           `{"example.com/a": "b"}`,
	"relay.affinity":                             `{"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]}}}`,
	"certificates.extraArgs":                     `["--ca-lifetime=720h"]`,
	"certificates.podLabels":                     `{"cost-center": "a"}`,
	"certificates.podAnnotations":                `{"example.com/a": "b"}`,
	"certificates.serviceAccount.annotations":    `{"example.com/a": "b"}`,
	"monitoring.podMonitors.interval":            `"30s"`,
	"monitoring.podMonitors.scrapeTimeout":       `"20s"`,
	"monitoring.podMonitors.namespaceSelector":   `{"matchNames": ["shop"]}`,
	"monitoring.podMonitors.relabelings":         `[{"targetLabel": "environment", "replacement": "production"}]`,
	"image.pullSecrets":                          `["mirror"]`,
	"image.repository":                           `"registry.example:5000/own"`,
	"image.tag":                                  `"v9"`,
	"image.digest":                               `"` + someDigest + `"`,
	"image.pullPolicy":                           `"Always"`,
	"image.requiredPullSecrets":                  `["mirror", "other"]`,
	"webhook.replicas":                           `3`,
	"webhook.logLevel":                           `"debug"`,
	"webhook.resources":                          `{"requests": {"cpu": "20m"}}`,
	"webhook.nodeSelector":                       `{"zone": "a"}`,
	"webhook.tolerations":                        `[{"key": "control-plane", "operator": "Exists"}]`,
	"webhook.priorityClassName":                  `"important"`,
	"webhook.affinity":                           `{"podAntiAffinity": {}}`,
	"relay.namespace.name":                       `"relays"`,
	"relay.namespace.create":                     `false`,
	"relay.authorization":                        `"none"`,
	"relay.hostNetwork":                          `true`,
	"relay.kubeletPodsDir":                       `"/data/kubelet/pods"`,
	"relay.logLevel":                             `"debug"`,
	"relay.resources":                            `{"requests": {"cpu": "20m"}}`,
	"relay.nodeSelector":                         `{"kubevirt.io/vms": "true"}`,
	"relay.nodeExpressions":                      `[{"key": "gpu", "operator": "DoesNotExist"}]`,
	"relay.maxUnavailable":                       `5`,
	"relay.priorityClassName":                    `"system-node-critical"`,
	"relay.tolerations":                          `[]`,
	"certificates.source":                        `"certManager"`,
	"certificates.logLevel":                      `"debug"`,
	"certificates.resources":                     `{"requests": {"cpu": "20m"}}`,
	"certificates.nodeSelector":                  `{"zone": "a"}`,
	"certificates.tolerations":                   `[{"key": "control-plane", "operator": "Exists"}]`,
	"certificates.priorityClassName":             `"important"`,
	"certificates.affinity":                      `{"podAntiAffinity": {}}`,
	"networkPolicies.enabled":                    `false`,
	"networkPolicies.webhookFrom":                `[{"ipBlock": {"cidr": "192.0.2.1/32"}}]`,
	"networkPolicies.metricsFrom":                `[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]`,
	"networkPolicies.relayFrom":                  `[{"ipBlock": {"cidr": "192.0.2.0/24"}}]`,
	"networkPolicies.apiServer":                  `[{"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 6443}]}]`,
	"monitoring.docsURL":                         `"https://docs.example.com"`,
	"monitoring.openshiftPlatform":               `true`,
	"monitoring.podMonitors.enabled":             `false`,
	"monitoring.podMonitors.labels":              `{"release": "prometheus"}`,
	"monitoring.prometheusRule.enabled":          `false`,
	"monitoring.prometheusRule.labels":           `{"release": "prometheus"}`,
	"monitoring.prometheusRule.alertLabels":      `{"team": "virtualization"}`,
	"monitoring.prometheusRule.alertAnnotations": `{"dashboard_url": "https://grafana.example.com"}`,
	"monitoring.prometheusRule.alerts":           `{"VirtualMachineDomainTypeOther": {"severity": "page"}}`,
	"monitoring.dashboard.enabled":               `false`,
	"monitoring.dashboard.labels":                `{"grafana_dashboard": "yes"}`,
}

// Every value is documented, allowed by the schema and read by a template: what is set appears in an object. Values
// that only choose between installations are left out of the last: TestChartMakesWhatKustomizeMakes compares those.
func TestEveryValueHasAnEffect(t *testing.T) {
	usual, err := client.template(t.Context())
	require.NoError(t, err)
	var known []string
	for _, value := range documentedValues(t) {
		known = append(known, value.path)
	}
	require.ElementsMatch(t, known, slices.Collect(maps.Keys(others)))
	for path, other := range others {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			// A pull secret alone is refused from Kubernetes 1.35 on, see refusals.yaml.
			output, err := client.template(t.Context(), "--kube-version=v1.34.0", "--set-json="+path+"="+other)
			require.NoError(t, err)
			require.NotEqual(t, usual, output)
			if !choosesInstallation(path) {
				for _, line := range leaves(t, []byte(other)) {
					require.Greater(t, strings.Count(output, line), strings.Count(usual, line), line)
				}
			}
		})
	}
}

func choosesInstallation(path string) bool {
	return slices.ContainsFunc(installations, func(i installation) bool {
		return slices.ContainsFunc(i.set, func(set string) bool { return strings.HasPrefix(set, path+"=") })
	})
}

// leaves returns the texts of a value, and its fields that hold no others, as the chart writes them.
func leaves(t *testing.T, content []byte) []string {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal(content, &value))
	var lines []string
	collect(t, value, &lines)
	return lines
}

func collect(t *testing.T, value any, lines *[]string) {
	t.Helper()
	switch value := value.(type) {
	case string:
		*lines = append(*lines, value)
	case []any:
		for _, element := range value {
			collect(t, element, lines)
		}
	case map[string]any:
		for key, element := range value {
			switch element.(type) {
			case []any, map[string]any:
				collect(t, element, lines)
			default:
				line, err := yaml.Marshal(map[string]any{key: element})
				require.NoError(t, err)
				*lines = append(*lines, strings.TrimSpace(string(line)))
			}
		}
	}
}

func TestValuesTogether(t *testing.T) {
	const image = "image: \"images-not-set.see-docs-install.invalid/kubevirt-hypervisor-exporter"
	for name, test := range map[string]struct {
		flag     string
		contains string
		count    int
	}{
		"tag and digest":           {"--set=image.tag=v9,image.digest=" + someDigest, image + ":v9@" + someDigest, 3},
		"digest alone":             {"--set=image.digest=" + someDigest, image + "@" + someDigest, 3},
		"70 % of the memory limit": {"--set=webhook.resources.limits.memory=128Mi", "value: 89MiB", 1},
		"no memory limit":          {`--set-json=relay.resources={"limits":{"memory":null}}`, "name: GOMEMLIMIT", 2},
		"one replica":              {"--set=webhook.replicas=1", "kind: PodDisruptionBudget", 0},
		"another dashboard label":  {"--set=monitoring.dashboard.labels.grafana_dashboard=null,monitoring.dashboard.labels.a=b", "grafana_dashboard:", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, err := client.template(t.Context(), test.flag)
			require.NoError(t, err)
			require.Equal(t, test.count, strings.Count(output, test.contains), test.contains)
		})
	}
}

// The chart's files are links into the manifests; a package has the files themselves.
func TestPackageIsTheChart(t *testing.T) {
	dir := t.TempDir()
	_, err := client.run(t.Context(), "package", "--destination="+dir, chart)
	require.NoError(t, err)
	packages, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	require.NoError(t, err)
	require.Len(t, packages, 1)
	want, err := client.template(t.Context())
	require.NoError(t, err)
	got, err := client.run(t.Context(), "template", release, packages[0], "--namespace="+usualNamespace, withImages, withOperator)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

package clustertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/internal/testkit"
)

// Check agrees with the Prometheus operator's own code on many Prometheus objects: which use the VMs' PodMonitor as it is, and
// which evaluate the VMs' rules as they are.
func TestCheckJudgesAsTheOperator(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	namespace := server.Namespace(t, "judged", labelled())
	mayFindPods(t, "default", "default")
	withoutPrometheus(t)
	random := rand.New(rand.NewPCG(1, 17))
	draws := 60
	if testkit.Soak() {
		draws = 1000
	}
	specs := []map[string]any{{}}
	for len(specs) < draws {
		specs = append(specs, randomSpec(random))
	}
	answers := askOperator(t, specs)
	good, bad := 0, 0
	for i, spec := range specs {
		withoutPrometheus(t)
		operated(t, "Prometheus", "main", spec)
		got := call(t, administrator(t), "check", "-n", namespace, "--source=none", "-o", "json")
		var report struct {
			Lines []struct {
				Level, Text string
				Objects     []string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(got.out), &report), got.out+got.err)
		about := func(object, text string) (level, why string) {
			for _, line := range report.Lines {
				if strings.Contains(line.Text, text) && slices.Contains(line.Objects, object) {
					return line.Level, line.Text
				}
			}
			require.Fail(t, "no line about "+object, got.out)
			return "", ""
		}
		for object, of := range map[string]struct {
			text string
			fine bool
		}{
			cluster.RelayNamespace + "/" + cluster.VMsPodMonitor:        {"these PodMonitors", answers[i].scrapes()},
			cluster.ExporterNamespace + "/" + "hypervisor-exporter-vms": {"these PrometheusRules", answers[i].evaluates()},
		} {
			level, why := about(object, of.text)
			require.Equal(t, of.fine, level == "ok", "%s\n%s\n%v\n%+v", object, why, spec, answers[i])
			if of.fine {
				good++
			} else {
				bad++
			}
		}
	}
	t.Logf("%d objects are used, %d are not", good, bad)
	require.Greater(t, good, 15)
	require.Greater(t, bad, 30)
}

// randomSpec is the spec of a Prometheus, mostly one that selects.
func randomSpec(random *rand.Rand) map[string]any {
	type fields = map[string]any
	pick := func(values ...any) any { return values[random.IntN(len(values))] }
	selector := func() any {
		return pick(fields{}, fields{}, fields{}, nil, fields{"matchLabels": fields{"app.kubernetes.io/name": "kubevirt-hypervisor-exporter"}},
			fields{"matchLabels": fields{"release": "main"}}, fields{"matchExpressions": []any{fields{"key": "app.kubernetes.io/component", "operator": "In", "values": []any{"sidecar", "relay"}}}},
			fields{"matchExpressions": []any{fields{"key": "release", "operator": "DoesNotExist"}}})
	}
	namespaces := func() any {
		return pick(fields{}, fields{}, fields{}, nil, fields{"matchExpressions": []any{fields{"key": "kubernetes.io/metadata.name", "operator": "In", "values": []any{cluster.ExporterNamespace, cluster.RelayNamespace}}}},
			fields{"matchLabels": fields{"kubernetes.io/metadata.name": "default"}}, fields{"matchExpressions": []any{fields{"key": "monitored", "operator": "Exists"}}})
	}
	spec := fields{
		"podMonitorSelector": selector(), "podMonitorNamespaceSelector": namespaces(), "ruleSelector": selector(), "ruleNamespaceSelector": namespaces(),
		"serviceMonitorSelector": fields{}, // with none of these, the operator leaves the configuration to its owner
	}
	switch random.IntN(8) {
	case 0:
		spec["ignoreNamespaceSelectors"] = true
	case 1, 2:
		spec["enforcedNamespaceLabel"] = pick("namespace", "tenant")
		reference := func(resource, namespace string) any {
			return fields{"group": "monitoring.coreos.com", "resource": resource, "namespace": namespace, "name": pick("", "hypervisor-exporter-vms", "other")}
		}
		spec["excludedFromEnforcement"] = pick([]any{}, []any{reference("podmonitors", cluster.RelayNamespace)},
			[]any{reference("podmonitors", cluster.RelayNamespace), reference("prometheusrules", cluster.ExporterNamespace)}, []any{reference("podmonitors", cluster.ExporterNamespace)})
		spec["prometheusRulesExcludedFromEnforce"] = pick([]any{}, []any{fields{"ruleNamespace": cluster.ExporterNamespace, "ruleName": "hypervisor-exporter-vms"}})
	case 3, 4:
		limit := pick("SampleLimit", "LabelLimit", "LabelNameLengthLimit", "LabelValueLengthLimit", "BodySizeLimit").(string)
		value := pick(int64(0), int64(7), int64(19), int64(48), int64(600))
		if limit == "BodySizeLimit" {
			value = pick("0", "1KB", "2.5KiB", "3KB", "1MB")
		}
		spec["enforced"+limit] = value
		if random.IntN(2) == 0 {
			spec[strings.ToLower(limit[:1])+limit[1:]] = pick(value, value, nil)
		}
	}
	return spec
}

// operators is what the operator makes of our objects for one Prometheus.
type operatorsAnswer struct {
	Config map[string]any
	Rules  string
}

// scrapes reports whether the VMs' PodMonitor is used as it is: for all namespaces, without another namespace, and with limits
// that a VM's page keeps (8 samples, 21 labels, names of 18 and values of 49 characters, 2707 bytes).
func (a operatorsAnswer) scrapes() bool {
	if a.Config == nil {
		return false
	}
	if a.Config["kubernetes_sd_configs"].([]any)[0].(map[string]any)["namespaces"] != nil {
		return false
	}
	for _, rule := range a.Config["relabel_configs"].([]any) {
		fields := rule.(map[string]any)
		if fields["target_label"] == "namespace" && fields["source_labels"] == nil {
			return false
		}
	}
	for name, needed := range map[string]float64{"sample_limit": 8, "label_limit": 21, "label_name_length_limit": 18, "label_value_length_limit": 49} {
		if limit, set := a.Config[name].(float64); set && limit > 0 && limit < needed {
			return false
		}
	}
	return !slices.Contains([]any{"1KB", "2.5KiB"}, a.Config["body_size_limit"])
}

// evaluates reports whether the VMs' rules are used as they are.
func (a operatorsAnswer) evaluates() bool {
	return a.Rules != "" && !strings.Contains(a.Rules, `namespace="`+cluster.ExporterNamespace) && !strings.Contains(a.Rules, `tenant="`)
}

// askOperator runs the operator's code on a Prometheus with each spec in the namespace default.
func askOperator(t *testing.T, specs []map[string]any) []operatorsAnswer {
	t.Helper()
	get := func(kind, version, namespace, name string) *unstructured.Unstructured {
		object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{"namespace": namespace, "name": name}}}
		found, err := server.Get(t.Context(), object)
		require.NoError(t, err)
		return found
	}
	namespaces, err := server.Client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	object := func(namespace, name string, data map[string]any) map[string]any {
		return map[string]any{"metadata": map[string]any{"namespace": namespace, "name": name}, "data": data}
	}
	question := map[string]any{
		"namespaces": namespaces.Items,
		"podMonitor": get("PodMonitor", "monitoring.coreos.com/v1", cluster.RelayNamespace, cluster.VMsPodMonitor),
		"rule":       get("PrometheusRule", "monitoring.coreos.com/v1", cluster.ExporterNamespace, "hypervisor-exporter-vms"),
		"configMaps": []any{object(cluster.RelayNamespace, "hypervisor-exporter-relay-ca", map[string]any{"ca.crt": string(server.Config.CAData)})},
		"secrets":    []any{object(cluster.RelayNamespace, cluster.Scraper, map[string]any{"token": []byte("a-token")})},
	}
	var all []any
	for _, spec := range specs {
		whole := map[string]any{
			"podMonitorSelector": map[string]any{}, "podMonitorNamespaceSelector": map[string]any{},
			"ruleSelector": map[string]any{}, "ruleNamespaceSelector": map[string]any{}, "version": "v3.5.0",
		}
		maps.Copy(whole, spec)
		all = append(all, map[string]any{
			"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": map[string]any{"namespace": "default", "name": "main"}, "spec": whole,
		})
	}
	question["prometheuses"] = all
	asked, err := json.Marshal(question)
	require.NoError(t, err)
	program := exec.Command("go", "run", "./selects")
	program.Dir, program.Env = "../../webhook/clustertest/operatorconfig", append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var failure bytes.Buffer
	program.Stdin, program.Stderr = bytes.NewReader(asked), &failure
	output, err := program.Output()
	require.NoError(t, err, failure.String())
	var answers []operatorsAnswer
	require.NoError(t, json.Unmarshal(output, &answers), fmt.Sprint(len(output)))
	require.Len(t, answers, len(specs))
	require.True(t, answers[0].scrapes() && answers[0].evaluates(), "what selects everything: %+v", answers[0])
	return answers
}

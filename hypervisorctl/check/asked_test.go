package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
)

func TestTargetsOfAJob(t *testing.T) {
	tests := map[string]struct {
		job   job
		level Level
		text  string
		hint  string
	}{
		"all answer":         {job{of: "VMs", up: 3, wanted: true}, OK, "targets of the VMs answer: 3", ""},
		"none, of VMs":       {job{of: "VMs", name: "j", wanted: true}, Fail, "Prometheus has no target of the VMs (job j)", "--prometheus-url"},
		"none, of relays":    {job{of: "relays", wanted: true}, Warn, "Prometheus has no target of the relays", "--prometheus-url"},
		"some VMs are down":  {job{of: "VMs", up: 2, down: 1, failure: source.Failure{Error: "connection refused"}}, Warn, "1 of 3 targets of the VMs do not answer (job ): connection refused", "NetworkPolicy"},
		"all VMs are down":   {job{of: "VMs", down: 2}, Fail, "2 of 2 targets of the VMs do not answer", "Status > Targets"},
		"the relays are":     {job{of: "relays", down: 2, failure: source.Failure{Error: "server returned HTTP status 401 Unauthorized"}}, Warn, "401 Unauthorized", "kubectl auth can-i get /metrics/vmis"},
		"not trusted":        {job{of: "relays", down: 2, failure: source.Failure{Error: "x509: certificate signed by unknown authority"}}, Warn, "x509", "change a label of the PodMonitor"},
		"above a limit":      {job{of: "VMs", down: 2, failure: source.Failure{Error: "sample limit exceeded"}}, Fail, "sample limit exceeded", "limit"},
		"an error of others": {job{of: "VMs", down: 2, failure: source.Failure{Error: strings.Repeat("x", 10000)}}, Fail, "xxx", "Status"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			lines := test.job.lines()
			require.Len(t, lines, 1)
			require.Equal(t, test.level, lines[0].Level)
			require.Contains(t, lines[0].Text, test.text)
			require.Less(t, len(lines[0].Text), 1000)
			require.Contains(t, lines[0].Hint, test.hint)
			require.Equal(t, test.level == OK, lines[0].Hint == "")
		})
	}
	require.Empty(t, (&job{of: "VMs"}).lines(), "no VM has a sidecar")
	samples := []source.Sample{{Labels: map[string]string{"job": "a"}, Value: [2]any{1.0, "7"}}, {Labels: map[string]string{"job": "b"}, Value: [2]any{1.0, "many"}}}
	require.Equal(t, []int{7, 0, 0}, []int{number(samples, "a"), number(samples, "b"), number(samples, "c")})
}

func TestRuleGroups(t *testing.T) {
	group := func(name string, rules ...string) cluster.RuleGroup {
		found := cluster.RuleGroup{Name: name}
		require.NoError(t, yaml.Unmarshal([]byte("rules: ["+strings.Join(rules, ", ")+"]"), &found))
		return found
	}
	wanted := []cluster.RuleGroup{group("vms", "{alert: Slow}", "{record: newest}"), group("relay", "{alert: Down}")}
	loaded := func(name string, rules ...source.Rule) source.RuleGroup {
		return source.RuleGroup{Name: name, Rules: rules}
	}
	good := []source.RuleGroup{loaded("vms", source.Rule{Name: "Slow", Health: "ok"}, source.Rule{Name: "newest", Health: "ok"}), loaded("relay", source.Rule{Name: "Down", Health: "ok"})}
	tests := map[string]struct {
		loaded   []source.RuleGroup
		recorded bool
		level    Level
		text     string
		objects  []string
	}{
		"all":         {good, true, OK, "loaded 2 groups of our rules, and no rule fails", nil},
		"none":        {nil, false, Fail, "has not loaded groups of our rules: their alerts cannot fire", []string{"relay", "vms"}},
		"elsewhere":   {nil, true, Warn, "another server evaluates them", []string{"relay", "vms"}},
		"one missing": {good[:1], false, Fail, "has not loaded", []string{"relay"}},
		"failing": {[]source.RuleGroup{loaded("vms", source.Rule{Name: "Slow", Health: "err", LastError: "no such thing"}, source.Rule{Name: "newest", Health: "ok"}), good[1]}, true,
			Fail, "rules of ours fail: no such thing", []string{"vms/Slow"}},
		"failing in one of two files": {[]source.RuleGroup{loaded("vms", source.Rule{Name: "Slow", Health: "err", LastError: "e"}), good[0], good[1]}, true, Fail, "rules of ours fail: e", []string{"vms/Slow"}},
		"stale":                       {[]source.RuleGroup{loaded("vms", source.Rule{Name: "newest", Health: "ok"}), good[1]}, true, Warn, "not loaded, although others of their group are", []string{"vms/Slow"}},
		"an alert waits":              {[]source.RuleGroup{good[0], loaded("relay", source.Rule{Name: "Down", Type: "alerting", Health: "unknown"})}, true, Warn, "not evaluated yet", []string{"relay/Down"}},
		"not evaluated yet":           {[]source.RuleGroup{loaded("vms", source.Rule{Name: "Slow", Health: "ok"}, source.Rule{Name: "newest", Type: "recording", Health: "unknown"}), good[1]}, true, Warn, "not evaluated yet", []string{"vms/newest"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			lines, whole := groupLines(wanted, test.loaded, test.recorded)
			require.Len(t, lines, 1)
			require.Equal(t, test.level, lines[0].Level, lines[0].Text)
			require.Contains(t, lines[0].Text, test.text)
			require.Equal(t, test.objects, lines[0].Objects)
			require.Equal(t, test.level == OK || name == "stale" || name == "an alert waits", whole)
		})
	}
	require.Equal(t, Warn, managerLine(nil).Level)
	require.Equal(t, OK, managerLine([]string{"http://a"}).Level)
}

// Without an object that shows which rules are wanted, they are those of this release.
func TestWantedGroups(t *testing.T) {
	names := func(r *run) []string {
		var all []string
		for _, group := range r.wantedGroups() {
			all = append(all, group.Name)
		}
		return all
	}
	require.Contains(t, names(&run{}), "hypervisor-exporter-vms")
	mine := cluster.PrometheusRule{}
	mine.Spec.Groups = []cluster.RuleGroup{{Name: "mine"}}
	require.Equal(t, []string{"mine"}, names(&run{ours: &products{rules: []cluster.PrometheusRule{mine}}}))
}

// The questions, asked to promtool: an hour of samples, one a minute.
func TestQuestions(t *testing.T) {
	const raw, recorded = `kubevirt_vmi_hypervisor_info{job="hypervisor-exporter/hypervisor-exporter-vms",namespace="shop",name="web",node="n",hypervisor_type="kvm"`, `vmi:kubevirt_vmi_hypervisor_info:newest{namespace="shop",name="web",node="n",hypervisor_type="kvm"`
	tests := map[string]struct {
		series map[string]string
		// asked is the question that finds the VM; -1 if none does.
		asked int
	}{
		"one of each":              {map[string]string{raw + `,pod="a"}`: "1x60", recorded + `}`: "1x60"}, -1},
		"replicas":                 {map[string]string{raw + `,pod="a",replica="0"}`: "1x60", raw + `,pod="a",replica="1"}`: "1x60", recorded + `,replica="0"}`: "1x60", recorded + `,replica="1"}`: "1x60"}, -1},
		"a migration":              {map[string]string{raw + `,pod="a"}`: "1x58 stale", raw + `,pod="b"}`: "_x55 1x5", recorded + `}`: "1x60"}, -1},
		"the migration just ended": {map[string]string{raw + `,pod="a"}`: "1x60", raw + `,pod="b"}`: "_x55 1x5", recorded + `}`: "1x60"}, -1},
		"two pods":                 {map[string]string{raw + `,pod="a"}`: "1x60", raw + `,pod="b"}`: "1x60", recorded + `}`: "1x60"}, 0},
		"one of which is no VM's":  {map[string]string{raw + `,pod="a"}`: "1x60", raw + `,pod="b"}`: "0x60", recorded + `}`: "1x60"}, -1},
		"just started":             {map[string]string{raw + `,pod="a"}`: "_x58 1x2"}, -1},
		"not recorded":             {map[string]string{raw + `,pod="a"}`: "1x60"}, 1},
		"a page's own":             {map[string]string{raw + `,pod="a"}`: "1x60", recorded + `,job="hypervisor-exporter/hypervisor-exporter-vms"}`: "1x60"}, 1},
		"of another cluster":       {map[string]string{raw + `,pod="a",cluster="c"}`: "1x60", recorded + `,cluster="d"}`: "1x60"}, 1},
		"two recorded":             {map[string]string{raw + `,pod="a"}`: "1x60", recorded + `}`: "1x60", strings.Replace(recorded, `"n"`, `"m"`, 1) + `}`: "1x60"}, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var input, asked []any
			for series, values := range test.series {
				input = append(input, map[string]any{"series": series, "values": values})
			}
			for _, namespace := range []string{"", "shop", "other"} {
				for i, question := range questions(namespace, true) {
					one := map[string]any{"expr": "count(" + question.expr + ")", "eval_time": "60m"}
					if i == test.asked && namespace != "other" {
						one["exp_samples"] = []any{map[string]any{"labels": "{}", "value": 1}}
					}
					asked = append(asked, one)
				}
			}
			group := map[string]any{"interval": "1m", "input_series": input, "promql_expr_test": asked}
			content, err := yaml.Marshal(map[string]any{"evaluation_interval": "1m", "tests": []any{group}})
			require.NoError(t, err)
			file := filepath.Join(t.TempDir(), "test.yaml")
			require.NoError(t, os.WriteFile(file, content, 0o600))
			output, err := exec.Command("promtool", "test", "rules", file).CombinedOutput()
			require.NoError(t, err, "%s", output)
		})
	}
	require.Len(t, questions("", false), 1, "the rules are not loaded")
}

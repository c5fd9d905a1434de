package check

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

func TestBundle(t *testing.T) {
	now := time.Now()
	ca := func(lifetime time.Duration) []byte {
		pair, err := pki.NewCA("x.y.svc", now.Add(-time.Hour), lifetime+time.Hour)
		require.NoError(t, err)
		return pair.CertPEM
	}
	good, soonOver, over := ca(90*24*time.Hour), ca(24*time.Hour), ca(-time.Minute)
	tests := map[string]struct {
		bundle []byte
		level  Level
		text   string
	}{
		"good":             {good, OK, "valid until"},
		"old beside new":   {append(bytes.Clone(over), good...), OK, "valid until"},
		"ends soon":        {soonOver, Warn, "was not renewed in time"},
		"ended":            {over, Fail, "expired on"},
		"empty":            {nil, Fail, "is empty"},
		"not PEM":          {[]byte("x"), Fail, "contains no certificate"},
		"not certificates": {[]byte("-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"), Fail, "cannot be read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			line := bundleLine(&admissionv1.MutatingWebhook{ClientConfig: admissionv1.WebhookClientConfig{CABundle: test.bundle}}, "renew", now)
			require.Equal(t, test.level, line.Level, line.Text)
			require.Contains(t, line.Text, test.text)
			require.Equal(t, test.level == OK, line.Hint == "", "a hint where something is wrong")
		})
	}
}

func TestReplicas(t *testing.T) {
	for ready, want := range map[int32]Level{0: Fail, 1: Warn, 2: OK} {
		two := int32(2)
		deployment := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &two}}
		deployment.Status = appsv1.DeploymentStatus{ReadyReplicas: ready, UpdatedReplicas: 2}
		require.Equal(t, want, replicaLine(deployment).Level, ready)
	}
	none := int32(0)
	scaled := replicaLine(&appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &none}})
	require.Equal(t, Fail, scaled.Level)
	require.Contains(t, scaled.Text, "is scaled to 0")
}

func TestServingCertificate(t *testing.T) {
	gauge := func(value string) []byte {
		return []byte("# TYPE " + certificateMetric + " gauge\n" + certificateMetric + " " + value + "\n")
	}
	require.Equal(t, Fail, pageLines("a", []byte("x 1\n"), "", time.Now())[0].Level, "a page without the metric is not ok")
	require.Equal(t, Fail, pageLines("a", []byte("{"), "", time.Now())[0].Level)
	require.Equal(t, Fail, pageLines("a", gauge("1"), "", time.Now())[0].Level, "1970")
	require.Equal(t, OK, pageLines("a", gauge("4e9"), "", time.Now())[0].Level)
}

func TestRelayOfEachNode(t *testing.T) {
	pod := func(node string, ready corev1.ConditionStatus) corev1.Pod {
		return corev1.Pod{Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
		}}
	}
	pods := []corev1.Pod{pod("a", corev1.ConditionTrue), pod("b", corev1.ConditionFalse), pod("c", corev1.ConditionFalse)}
	lines := relayLines(pods, map[string]int{"a": 1, "b": 1, "d": 3}, map[string]bool{"b": true}, "")
	require.Len(t, lines, 3)
	require.Equal(t, []string{"d"}, lines[0].Objects, "no relay")
	require.Equal(t, []string{"b"}, lines[1].Objects, "not ready")
	require.Equal(t, []string{"c"}, lines[2].Objects, "not ready, and not needed")
	require.Equal(t, []Level{Fail, Fail, Warn}, []Level{lines[0].Level, lines[1].Level, lines[2].Level})
	require.Equal(t, OK, relayLines(pods[:1], map[string]int{"a": 1}, nil, "")[0].Level)
	require.Equal(t, OK, relayLines(nil, nil, nil, "")[0].Level)
}

func TestPolicy(t *testing.T) {
	ignore, deny := admissionv1.Ignore, admissionv1.Fail
	policy := &admissionv1.MutatingAdmissionPolicy{Spec: admissionv1.MutatingAdmissionPolicySpec{
		FailurePolicy: &ignore, Variables: []admissionv1.Variable{{Name: "image", Expression: "'registry.example/sidecar:v1'"}},
	}}
	require.Len(t, policyLines(policy, true), 1)
	require.Equal(t, OK, policyLines(policy, true)[0].Level)
	require.Equal(t, Fail, policyLines(policy, false)[1].Level)
	require.Equal(t, "registry.example/sidecar:v1", policyImage(policy))
	policy.Spec.FailurePolicy = &deny
	require.Equal(t, Warn, policyLines(policy, true)[1].Level)
	policy.Spec.FailurePolicy = nil // the API's default is Fail
	require.Equal(t, Warn, policyLines(policy, true)[1].Level)
	policy.Spec.Variables[0].Expression = "params.image"
	require.Empty(t, policyImage(policy), "not a text constant")
	policy.Spec.Variables = nil
	require.Empty(t, policyImage(policy))
}

func TestWhatCannotBeReadIsNeverOK(t *testing.T) {
	line := unread("something", errors.New("broken"))
	require.Equal(t, Fail, line.Level)
}

func TestPrinterShortensLongLists(t *testing.T) {
	line := Line{Level: Warn, Text: "some", Objects: []string{"a", "b", "c"}}
	var short, whole bytes.Buffer
	NewPrinter(terminal.NewWriter(&short), 2).Line(line)
	NewPrinter(terminal.NewWriter(&whole), 0).Line(line)
	require.Contains(t, short.String(), "a, b and 1 more")
	require.Contains(t, whole.String(), "a, b, c")
}

// A short line is one line, with some of its objects; what is ok has none.
func TestShortLines(t *testing.T) {
	var out bytes.Buffer
	printer := NewPrinter(terminal.NewWriter(&out), 10)
	for _, line := range []Line{
		{Section: "a", Text: "fine", Objects: []string{"x"}}, {Section: "b", Level: Warn, Text: "some\nthing", Hint: "do", Objects: []string{"a", "b", "c", "d", "e"}},
		{Section: "b", Level: Fail, Text: "other", Objects: []string{"a"}}, {Section: "c", Level: Fail, Text: "last"},
	} {
		printer.Short(line)
	}
	require.NoError(t, printer.Err())
	require.Equal(t, "warn  b: some\\nthing (a, b, c and 2 more)\nfail  b: other (a)\nfail  c: last\n", out.String())
}

// A VM counts as measured only if the source has its series.
func TestMeasured(t *testing.T) {
	one := func(name string, cause vm.Cause) survey.VM {
		return survey.VM{VMI: vm.VMI{Namespace: "shop", Name: name, Phase: vm.Running}, Cause: cause}
	}
	failing := func(name string, err error) survey.VM {
		found := one(name, vm.Cause{})
		found.Err = err
		return found
	}
	good := one("good", vm.Cause{})
	good.Finding = &source.Finding{Type: "kvm"}
	var asked source.Source = &source.Prometheus{}
	tests := map[string]struct {
		vms    []survey.VM
		source source.Source
		want   []Line
	}{
		"none": {nil, asked, []Line{{Text: "no VM runs in a namespace that is labelled for sidecars"}}},
		"all":  {[]survey.VM{good}, asked, []Line{{Text: "1 of 1 VMs are measured (source: prometheus)"}}},
		"no series": {[]survey.VM{good, failing("lost", source.ErrNoSeries)}, asked, []Line{
			{Text: "1 of 2 VMs are measured (source: prometheus)"},
			{Level: Fail, Text: "1 VM is not measured although the sidecar runs: " + source.ErrNoSeries.Error(), Objects: []string{"shop/lost"}},
		}},
		"no series at all": {[]survey.VM{failing("b", source.ErrNoSeries), failing("a", source.ErrNoSeries)}, asked, []Line{
			{Level: Fail, Text: "2 VMs are not measured although the sidecar runs: " + source.ErrNoSeries.Error(), Objects: []string{"shop/a", "shop/b"}},
		}},
		"no source": {[]survey.VM{one("a", vm.Cause{}), one("b", vm.Cause{Why: vm.Ambiguous})}, nil, []Line{
			{Level: Warn, Text: "the sidecar runs in 1 of 2 VMs; not checked whether they are measured: because"},
			{Level: Fail, Text: "1 VM has no metric: ambiguous_pod: " + vm.Cause{Why: vm.Ambiguous}.Sentence(), Objects: []string{"shop/b"}},
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := newPopulation(test.vms).lines(test.source, "because", false)
			for i := range got {
				got[i].Hint = ""
			}
			require.Equal(t, test.want, got)
		})
	}
}

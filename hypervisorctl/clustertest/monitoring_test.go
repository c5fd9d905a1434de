package clustertest

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// section returns the lines of a section of a check.
func section(t *testing.T, out, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + `\n((?: .*\n)*)`).FindStringSubmatch(out)
	require.NotNil(t, found, "no section %s in:\n%s", name, out)
	return found[1]
}

// Check names what keeps a Prometheus from the VMs, with the operator's own definitions and with the rights of rbac.yaml.
func TestCheckMonitoring(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	namespace := server.Namespace(t, "watched", labelled())
	check := func(t *testing.T) string {
		return section(t, callAs(t, reader(), "check", "-n", namespace, "--source=none", "--all").out, "monitoring")
	}
	type fields = map[string]any
	selecting := fields{"matchLabels": fields{"release": "main"}}
	for name, test := range map[string]struct {
		spec fields
		want []string
	}{
		"ignoreNamespaceSelectors": {fields{"ignoreNamespaceSelectors": true}, []string{
			`fail  no Prometheus uses these PodMonitors: Prometheus default/main: ignoreNamespaceSelectors: .*\n +hypervisor-exporter-relay/hypervisor-exporter-vms\n +hint: set spec.ignoreNamespaceSelectors to false in Prometheus default/main`,
			`ok    Prometheus default/main uses these PodMonitors\n +hypervisor-exporter-relay/hypervisor-exporter-relay, hypervisor-exporter/hypervisor-exporter-webhook`,
		}},
		"a ruleSelector that matches nothing": {fields{"ruleSelector": selecting}, []string{
			`ok    Prometheus default/main uses these PodMonitors\n`,
			`fail  no Prometheus evaluates these PrometheusRules: Prometheus default/main: ruleSelector "release=main" does not match its labels\n +hypervisor-exporter/hypervisor-exporter-certs, hypervisor-exporter/hypervisor-exporter-vms, hypervisor-exporter/hypervisor-exporter-webhook\n +hint: kubectl -n hypervisor-exporter label prometheusrules -l app.kubernetes.io/name=kubevirt-hypervisor-exporter release=main`,
			`fail  no Prometheus evaluates these PrometheusRules: .*\n +hypervisor-exporter-relay/hypervisor-exporter-relay\n`,
		}},
		"a podMonitorSelector that matches nothing": {fields{"podMonitorSelector": selecting}, []string{
			`fail  no Prometheus uses these PodMonitors: Prometheus default/main: podMonitorSelector "release=main" does not match its labels\n +hypervisor-exporter-relay/hypervisor-exporter-vms\n`,
			`warn  no Prometheus uses these PodMonitors: .*\n +hypervisor-exporter-relay/hypervisor-exporter-relay\n`,
		}},
		"no podMonitorSelector": {fields{"podMonitorSelector": nil}, []string{`fail  no Prometheus uses .* has no podMonitorSelector, and so selects none`}},
		"no ruleNamespaceSelector": {fields{"ruleNamespaceSelector": nil}, []string{
			`fail  no Prometheus evaluates these PrometheusRules: Prometheus default/main: has no ruleNamespaceSelector, and so selects in its own namespace only`}},
		"namespaces that match nothing": {fields{"podMonitorNamespaceSelector": selecting}, []string{
			`fail  no Prometheus uses .* podMonitorNamespaceSelector "release=main" does not match the namespace hypervisor-exporter-relay\n.*\n +hint: kubectl label namespace hypervisor-exporter-relay release=main`}},
		"enforcedNamespaceLabel": {fields{"enforcedNamespaceLabel": "namespace"}, []string{
			`fail  no Prometheus uses .* enforcedNamespaceLabel: the label namespace of each VM becomes "hypervisor-exporter-relay"`,
			`fail  no Prometheus evaluates .* enforcedNamespaceLabel: its rules get only series with namespace="hypervisor-exporter"`}},
		"enforcedSampleLimit":   {fields{"enforcedSampleLimit": int64(5)}, []string{`fail  no Prometheus uses .* enforcedSampleLimit is 5, below the 8 samples of a VM`}},
		"enforcedBodySizeLimit": {fields{"enforcedBodySizeLimit": "1KB"}, []string{`fail  no Prometheus uses .* enforcedBodySizeLimit is 1024`}},
		"paused":                {fields{"paused": true}, []string{`warn  no Prometheus uses .* paused: the operator does not apply changes to it`}},
		"replicas":              {fields{"replicas": int64(0)}, []string{`fail  no Prometheus uses .* replicas is 0`}},
		"no Alertmanager":       {fields{"alerting": nil}, []string{`warn  alerts fire and reach no one: Prometheus default/main has no Alertmanager\n +hint: set spec.alerting.alertmanagers in Prometheus default/main`}},
	} {
		t.Run(name, func(t *testing.T) {
			runsPrometheus(t, test.spec)
			got := check(t)
			for _, want := range test.want {
				require.Regexp(t, want, got)
			}
		})
	}
	t.Run("an agent", func(t *testing.T) {
		withoutPrometheus(t)
		mayFindPods(t, "default", "default")
		operated(t, "PrometheusAgent", "main", fields{"podMonitorSelector": fields{}, "podMonitorNamespaceSelector": fields{}})
		got := check(t)
		require.Contains(t, got, "ok    PrometheusAgent default/main uses these PodMonitors\n")
		require.Regexp(t, `warn  there is no Prometheus and no ThanosRuler object, and a PrometheusAgent evaluates no rules: .*\n.*\n +hint: print them for the ruler`, got)
		operated(t, "ThanosRuler", "main", fields{
			"ruleSelector": fields{}, "ruleNamespaceSelector": fields{}, "queryEndpoints": []any{"query:80"}, "alertmanagersUrl": []any{"http://alertmanager"},
		})
		got = check(t)
		require.Contains(t, got, "ok    ThanosRuler default/main evaluates these PrometheusRules\n")
		require.Contains(t, got, "ok    ThanosRuler default/main sends alerts to Alertmanager http://alertmanager\n")
	})
	t.Run("no operator runs it", func(t *testing.T) {
		withoutPrometheus(t)
		_, err := server.Create(t.Context(), operatedObject("Prometheus", "main", fields{"podMonitorSelector": fields{}, "podMonitorNamespaceSelector": fields{}}), metav1.CreateOptions{})
		require.NoError(t, err)
		require.Contains(t, check(t), "warn  no Prometheus uses these PodMonitors: Prometheus default/main: no operator has reported its state")
	})
	t.Run("no Prometheus", func(t *testing.T) {
		withoutPrometheus(t)
		require.Contains(t, check(t), "warn  there is no Prometheus and no PrometheusAgent object")
	})
	t.Run("no PrometheusRules", func(t *testing.T) {
		runsPrometheus(t, nil)
		for _, object := range readObjects(t, "../../manifests/monitoring/prometheusrule.yaml") {
			require.NoError(t, server.Delete(t.Context(), object))
			t.Cleanup(func() { require.NoError(t, server.Apply(context.Background(), object)) })
		}
		require.Contains(t, check(t), "warn  PrometheusRule hypervisor-exporter-vms does not exist: no alert about VMs fires")
	})
	t.Run("a tenant's PodMonitor that looks like ours", func(t *testing.T) {
		runsPrometheus(t, fields{"podMonitorSelector": selecting})
		for _, object := range readObjects(t, "../../manifests/monitoring/vms/podmonitor-vms.yaml") {
			object.SetNamespace(namespace)
			object.SetLabels(map[string]string{"release": "main", "app.kubernetes.io/name": "kubevirt-hypervisor-exporter"})
			require.NoError(t, server.Apply(t.Context(), object))
		}
		got := check(t)
		require.NotContains(t, got, namespace)
		require.Contains(t, got, "fail  no Prometheus uses these PodMonitors")
	})
	t.Run("a PodMonitor that the operator rejects", func(t *testing.T) {
		runsPrometheus(t, nil)
		events := server.Client.CoreV1().Events(cluster.RelayNamespace)
		reject := func(message string) {
			require.NoError(t, events.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
			_, err := events.Create(t.Context(), &corev1.Event{
				ObjectMeta:     metav1.ObjectMeta{Namespace: cluster.RelayNamespace, GenerateName: "rejected-"},
				InvolvedObject: corev1.ObjectReference{Kind: "PodMonitor", Namespace: cluster.RelayNamespace, Name: cluster.VMsPodMonitor},
				Reason:         "InvalidConfiguration", Type: "Warning", Message: message, LastTimestamp: metav1.Now(),
			}, metav1.CreateOptions{})
			require.NoError(t, err)
		}
		reject("unknown field\x1b[2J")
		require.Regexp(t, `warn  the Prometheus operator rejected PodMonitor hypervisor-exporter-relay/hypervisor-exporter-vms: unknown field\\u001b\[2J\n`+
			` +hint: kubectl -n hypervisor-exporter-relay describe podmonitors hypervisor-exporter-vms; that was \d+s ago`, check(t))

		before, err := server.Client.CoreV1().ConfigMaps(cluster.RelayNamespace).Get(t.Context(), cluster.RelayCA, metav1.GetOptions{})
		require.NoError(t, err)
		t.Cleanup(func() { trusted(t, []byte(before.Data["ca.crt"])) })
		reject(`tlsConfig: failed to get ca "<configmap=hypervisor-exporter-relay-ca,key=ca.crt>"`)
		trusted(t, nil)
		require.Contains(t, check(t), "the Prometheus operator rejected PodMonitor", "it waits for the CA")
		trusted(t, []byte("the CA"))
		require.NotContains(t, check(t), "the Prometheus operator rejected PodMonitor", "the CA came")

		const lost = "hypervisor-exporter-lost"
		reject(`unable to get secret "` + lost + `": secrets "` + lost + `" not found`)
		whoMayReadSecrets := func() string {
			return section(t, call(t, administrator(t), "check", "-n", namespace, "--source=none", "--all").out, "monitoring")
		}
		require.Contains(t, check(t), "warn  the Prometheus operator rejected PodMonitor", "who may not read Secrets cannot know more")
		require.Regexp(t, `fail  Secret hypervisor-exporter-lost does not exist: the Prometheus operator leaves out PodMonitor hypervisor-exporter-relay/hypervisor-exporter-vms\n`+
			` +hint: apply the manifests or the chart again`, whoMayReadSecrets())
		secrets := server.Client.CoreV1().Secrets(cluster.RelayNamespace)
		_, err = secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: lost}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.NotContains(t, whoMayReadSecrets(), lost, "it is there again, and the event is over")
		require.NoError(t, events.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	})
	t.Run("namespaces that the PodMonitor leaves out", func(t *testing.T) {
		runsPrometheus(t, nil)
		patchMonitor(t, `[{"op": "replace", "path": "/spec/namespaceSelector", "value": {"matchNames": ["default"]}}]`)
		require.Regexp(t, `fail  namespaces are labelled for sidecars, but PodMonitor hypervisor-exporter-vms leaves them out\n.*`+namespace, check(t))
		patchMonitor(t, `[{"op": "replace", "path": "/spec/namespaceSelector", "value": {"matchNames": ["default", "`+namespace+`"]}}]`)
		require.NotRegexp(t, `leaves them out\n.*`+namespace, check(t))
		patchMonitor(t, `[{"op": "replace", "path": "/spec/namespaceSelector", "value": {"any": true}}]`)
	})
}

func patchMonitor(t *testing.T, patch string) {
	t.Helper()
	for _, object := range readObjects(t, "../../manifests/monitoring/vms/podmonitor-vms.yaml") {
		object.SetNamespace(cluster.RelayNamespace)
		require.NoError(t, server.Patch(t.Context(), object, types.JSONPatchType, []byte(patch)))
	}
}

// Check asks the API server for the rights of Prometheus' ServiceAccount, of the operator and of the scraper.
func TestCheckRightsOfPrometheus(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	namespace := server.Namespace(t, "rights", labelled())
	check := func(t *testing.T, user []string) string {
		return section(t, callAs(t, user, "check", "-n", namespace, "--source=none").out, "monitoring")
	}
	withoutPrometheus(t)
	operated(t, "Prometheus", "main", map[string]any{"serviceAccountName": "finds-nothing"})

	t.Run("to find pods", func(t *testing.T) {
		require.Regexp(t, `fail  no Prometheus uses these PodMonitors: Prometheus default/main: its ServiceAccount default/finds-nothing may not list pods in all namespaces\n`+
			` +hypervisor-exporter-relay/hypervisor-exporter-vms\n +hint: kubectl create clusterrole hypervisor-exporter-prometheus --verb=get,list,watch --resource=pods && `+
			`kubectl create clusterrolebinding hypervisor-exporter-prometheus --clusterrole=hypervisor-exporter-prometheus --serviceaccount=default:finds-nothing`, check(t, reader()))
		require.NoError(t, grant(t, cluster.RelayNamespace, "system:serviceaccount:default:finds-nothing", []string{""}, []string{"pods"}, "list", "watch"))
		got := check(t, reader())
		require.Regexp(t, `ok    Prometheus default/main uses these PodMonitors\n +hypervisor-exporter-relay/hypervisor-exporter-relay\n`, got)
		require.Contains(t, got, "warn  no Prometheus uses these PodMonitors: Prometheus default/main: its ServiceAccount default/finds-nothing may not list pods in the namespace hypervisor-exporter")
		mayFindPods(t, "default", "finds-nothing")
		require.Contains(t, check(t, reader()), "ok    Prometheus default/main uses these PodMonitors\n")
	})
	t.Run("that cannot be asked for", func(t *testing.T) {
		withoutReviews := as("rights-reader", "system:authenticated")
		granted := []struct{ namespace, group, resource string }{
			{cluster.ExporterNamespace, "monitoring.coreos.com", "podmonitors"}, {cluster.RelayNamespace, "monitoring.coreos.com", "podmonitors"},
			{cluster.ExporterNamespace, "monitoring.coreos.com", "prometheusrules"}, {cluster.RelayNamespace, "monitoring.coreos.com", "prometheusrules"},
		}
		for _, one := range granted {
			require.NoError(t, grant(t, one.namespace, "rights-reader", []string{one.group}, []string{one.resource}, "list"))
		}
		for _, rule := range []rbacv1.PolicyRule{
			{APIGroups: []string{"monitoring.coreos.com"}, Resources: []string{"prometheuses", "prometheusagents", "thanosrulers"}, Verbs: []string{"list"}},
			{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list"}},
		} {
			clusterRoleOf(t, "rights-reader", rule, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "rights-reader"})
			awaitRight(t, "rights-reader", nil, authorizationv1.ResourceAttributes{Verb: rule.Verbs[0], Group: rule.APIGroups[0], Resource: rule.Resources[0]})
		}
		got := callAs(t, withoutReviews, "check", "-n", namespace, "--source=none", "--exporter-namespace="+cluster.ExporterNamespace, "--relay-namespace="+cluster.RelayNamespace).out
		require.Contains(t, got, "kubectl auth can-i create subjectaccessreviews.authorization.k8s.io -A: rights of the ServiceAccounts of Prometheus, its operator and the scraper\n")
		require.Contains(t, section(t, got, "monitoring"), "ok    Prometheus default/main uses these PodMonitors\n")
	})
	t.Run("of the scraper", func(t *testing.T) {
		runsPrometheus(t, nil)
		require.NotContains(t, check(t, reader()), "the relay refuses Prometheus")
		binding, err := server.Client.RbacV1().ClusterRoleBindings().Get(t.Context(), cluster.Scraper, metav1.GetOptions{})
		require.NoError(t, err)
		require.NoError(t, server.Client.RbacV1().ClusterRoleBindings().Delete(t.Context(), cluster.Scraper, metav1.DeleteOptions{}))
		eventually(t, func() bool {
			return strings.Contains(check(t, reader()), "fail  ServiceAccount hypervisor-exporter-relay/hypervisor-exporter-scraper may not get /metrics/vmis: the relay refuses Prometheus")
		})
		binding.ResourceVersion = ""
		_, err = server.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{})
		require.NoError(t, err)
		eventually(t, func() bool { return !strings.Contains(check(t, reader()), "the relay refuses Prometheus") })
	})
	t.Run("of the operator", func(t *testing.T) {
		runsPrometheus(t, nil)
		unwatched := "does not watch the namespace hypervisor-exporter-relay"
		operatorPod(t, namespace, "prometheus-operator", "--namespaces="+namespace)
		require.NotContains(t, check(t, reader()), unwatched, "a tenant's pod that looks like an operator")
		operatorPod(t, "default", "prometheus-operator", "--namespaces=default")
		clusterRole(t, "operator", rbacv1.PolicyRule{APIGroups: []string{"monitoring.coreos.com"}, Resources: []string{"*"}, Verbs: []string{"*"}}, "default", "prometheus-operator")
		awaitRight(t, "system:serviceaccount:default:prometheus-operator", nil, authorizationv1.ResourceAttributes{
			Verb: "update", Group: "monitoring.coreos.com", Resource: "prometheuses", Subresource: "status",
		})
		require.Regexp(t, `fail  no Prometheus uses these PodMonitors: Prometheus default/main: its operator default/prometheus-operator `+unwatched, check(t, reader()))
	})
	t.Run("of an operator that does not watch the CA", func(t *testing.T) {
		runsPrometheus(t, nil)
		operatorPod(t, "default", "prometheus-operator", "--prometheus-instance-namespaces=default")
		clusterRole(t, "operator", rbacv1.PolicyRule{APIGroups: []string{"monitoring.coreos.com"}, Resources: []string{"*"}, Verbs: []string{"*"}}, "default", "prometheus-operator")
		awaitRight(t, "system:serviceaccount:default:prometheus-operator", nil, authorizationv1.ResourceAttributes{
			Verb: "update", Group: "monitoring.coreos.com", Resource: "prometheuses", Subresource: "status",
		})
		got := check(t, reader())
		require.Contains(t, got, "ok    Prometheus default/main uses these PodMonitors\n")
		require.Contains(t, got, "warn  the Prometheus operator does not watch Secrets and ConfigMaps in the namespace hypervisor-exporter-relay")
	})
}

// Check asks a real Prometheus what it has loaded, scrapes and records.
func TestCheckAsksPrometheus(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	runsPrometheus(t, nil)
	namespace := server.Namespace(t, "asked", labelled())
	testVM{namespace: namespace, name: "web", fixture: "masq", node: "node-1"}.create(t)
	check := func(t *testing.T, what scraped) string {
		p := startPrometheus(t, namespace, what)
		return section(t, callAs(t, reader(), "check", "-n", namespace, "--prometheus-url="+p.url).out, "prometheus")
	}
	web := map[string]string{"web": "kvm"}
	t.Run("a rule fails", func(t *testing.T) {
		failing := regexp.MustCompile(`(record: `+rules.ClusterCount+`\n +expr:) .*`).ReplaceAll(productRules(t), []byte(`${1} vector(1) * on () (label_replace(vector(1), "a", "b", "", "") or vector(1))`))
		require.Regexp(t, `fail  rules of ours fail: .*found duplicate series.*\n +hypervisor-exporter-vms/hypervisor_type:kubevirt_vmi_hypervisor_info:count\n`, check(t, scraped{vms: web, rules: failing}))
	})
	t.Run("no rules, no Alertmanager", func(t *testing.T) {
		got := check(t, scraped{vms: web, rules: []byte("groups: []\n"), silent: true})
		require.Regexp(t, `fail  Prometheus has not loaded groups of our rules: their alerts cannot fire\n +hypervisor-exporter-certs, .*hypervisor-exporter-vms`, got)
		require.Contains(t, got, "warn  Prometheus sends alerts to no Alertmanager\n")
	})
	t.Run("a rule is missing", func(t *testing.T) {
		renamed := strings.Replace(string(productRules(t)), "alert: VirtualMachineOnSoftwareEmulation\n", "alert: Another\n", 1)
		require.Regexp(t, `warn  rules of our PrometheusRules are not loaded, although others of their group are\n +hypervisor-exporter-vms/VirtualMachineOnSoftwareEmulation\n`, check(t, scraped{vms: web, rules: []byte(renamed)}))
	})
	t.Run("targets are down", func(t *testing.T) {
		got := check(t, scraped{vms: web, down: []string{"web", "relay"}})
		require.Regexp(t, `fail  1 of 1 target of the VMs do not answer \(job .*\): server returned HTTP status 403 Forbidden\n +hint: the relay refuses Prometheus' token`, got)
		require.Contains(t, got, "warn  1 of 1 target of the relays do not answer")
		require.Contains(t, got, "ok    targets of the webhook and certificate process answer: 1")
	})
	t.Run("scraped without the operator", func(t *testing.T) {
		runsPrometheus(t, map[string]any{"podMonitorSelector": nil, "ruleSelector": nil})
		p := startPrometheus(t, namespace, scraped{vms: web})
		got := section(t, callAs(t, reader(), "check", "-n", namespace, "--prometheus-url="+p.url).out, "monitoring")
		require.Contains(t, got, "warn  no Prometheus uses these PodMonitors")
		require.Contains(t, got, "warn  no Prometheus evaluates these PrometheusRules")
		require.NotContains(t, got, "fail ")
		runsPrometheus(t, nil)
	})
	t.Run("no targets", func(t *testing.T) {
		require.Contains(t, check(t, scraped{}), "fail  Prometheus has no target of the VMs (job hypervisor-exporter/hypervisor-exporter-vms)")
	})
}

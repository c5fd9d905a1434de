package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// runsPrometheus makes the one Prometheus object of the cluster, as the operator reports it, and lets its ServiceAccount find
// pods. Spec is added to selectors of everything.
func runsPrometheus(t *testing.T, spec map[string]any) {
	t.Helper()
	withoutPrometheus(t)
	operated(t, "Prometheus", "main", spec)
	mayFindPods(t, "default", "default")
}

// withoutPrometheus deletes the objects that a test before has made.
func withoutPrometheus(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"Prometheus", "PrometheusAgent", "ThanosRuler"} {
		err := server.Delete(t.Context(), operatedObject(kind, "main", nil))
		require.True(t, err == nil || apierrors.IsNotFound(err), "%v", err)
	}
}

// operated makes an object that the operator runs, and reports its state.
func operated(t *testing.T, kind, name string, spec map[string]any) {
	t.Helper()
	all := map[string]any{
		"podMonitorSelector": map[string]any{}, "podMonitorNamespaceSelector": map[string]any{},
		"ruleSelector": map[string]any{}, "ruleNamespaceSelector": map[string]any{},
		"alerting": map[string]any{"alertmanagers": []any{map[string]any{"namespace": "default", "name": "alertmanager", "port": "web"}}},
	}
	if kind != "Prometheus" {
		all = map[string]any{}
	}
	for field, value := range spec {
		all[field] = value
		if value == nil {
			delete(all, field)
		}
	}
	stored, err := server.Create(t.Context(), operatedObject(kind, name, all), metav1.CreateOptions{})
	require.NoError(t, err)
	condition := func(of string) any {
		return map[string]any{"type": of, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	stored.Object["status"] = map[string]any{
		"paused": false, "replicas": int64(1), "updatedReplicas": int64(1), "availableReplicas": int64(1), "unavailableReplicas": int64(0),
		"conditions": []any{condition("Available"), condition("Reconciled")},
	}
	require.NoError(t, server.UpdateStatus(t.Context(), stored))
}

func operatedObject(kind, name string, spec map[string]any) *unstructured.Unstructured {
	version := "v1"
	if kind == "PrometheusAgent" {
		version = "v1alpha1"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "monitoring.coreos.com/" + version, "kind": kind, "metadata": map[string]any{"namespace": "default", "name": name}, "spec": spec,
	}}
}

// mayFindPods gives a ServiceAccount the right that a Prometheus needs, in all namespaces.
func mayFindPods(t *testing.T, namespace, account string) {
	t.Helper()
	clusterRole(t, "finds-pods", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch"}}, namespace, account)
	for _, verb := range []string{"list", "watch"} {
		awaitRight(t, "system:serviceaccount:"+namespace+":"+account, nil, authorizationv1.ResourceAttributes{Verb: verb, Resource: "pods"})
	}
}

// clusterRole gives a right in all namespaces to a ServiceAccount, until the test's end.
func clusterRole(t *testing.T, name string, rule rbacv1.PolicyRule, namespace, account string) {
	t.Helper()
	clusterRoleOf(t, name, rule, rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: account})
}

func clusterRoleOf(t *testing.T, name string, rule rbacv1.PolicyRule, subject rbacv1.Subject) {
	t.Helper()
	role, err := server.Client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"}, Rules: []rbacv1.PolicyRule{rule},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	binding, err := server.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{subject},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, server.Client.RbacV1().ClusterRoleBindings().Delete(context.Background(), binding.Name, metav1.DeleteOptions{}))
	})
}

// realPrometheus is a Prometheus of Debian's package that scrapes VMs of a namespace, a relay and a webhook, has the product's
// rules and an Alertmanager, and has evaluated each rule.
type realPrometheus struct{ url string }

// scraped is what a Prometheus of the tests scrapes and evaluates.
type scraped struct {
	// vms are the types of VMs by name.
	vms map[string]string
	// down are jobs and VMs that do not answer.
	down []string
	// rules replaces the product's.
	rules []byte
	// pods are more pods, by VM.
	pods map[string]string
	// silent: it sends alerts nowhere.
	silent bool
}

func startPrometheus(t *testing.T, namespace string, what scraped) realPrometheus {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if slices.Contains(what.down, name) {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintln(w, "hypervisor_exporter_last_change_timestamp_seconds 1")
		if kind := what.vms[name]; kind != "" {
			domain := strings.TrimSuffix(strings.Replace(kind, "-tcg", "", 1), " ")
			_, _ = fmt.Fprintf(w, "kubevirt_vmi_hypervisor_info{hypervisor_type=%q} 1\n", kind)
			_, _ = fmt.Fprintf(w, "kubevirt_vmi_hypervisor_domain_info{domain_type=%q,arch=\"x86_64\",machine=\"pc-q35-7.2\"} 1\n", domain)
		}
	}))
	t.Cleanup(web.Close)
	target := func(job, path string, labels map[string]string) any {
		all := map[string]string{"job": job, "__metrics_path__": "/" + path}
		for name, value := range labels {
			all[name] = value
		}
		return map[string]any{"targets": []string{strings.TrimPrefix(web.URL, "http://")}, "labels": all}
	}
	targets := []any{target(rules.RelayJob, "relay", map[string]string{"node": "node-1"}), target(rules.WebhookJob, "webhook", nil)}
	pod := func(name, pod string) any {
		return target(rules.VMsJob, name, map[string]string{"namespace": namespace, "name": name, "pod": pod, "node": "node-1"})
	}
	for name := range what.vms {
		targets = append(targets, pod(name, "virt-launcher-"+name+"-x"))
	}
	for name, more := range what.pods {
		targets = append(targets, pod(name, more))
	}
	config := map[string]any{
		"global":         map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{"rules.yaml"},
		"scrape_configs": []any{map[string]any{"job_name": "ours", "static_configs": targets}},
	}
	if !what.silent {
		config["alerting"] = map[string]any{"alertmanagers": []any{map[string]any{"static_configs": []any{map[string]any{"targets": []string{"127.0.0.1:1"}}}}}}
	}
	groups := what.rules
	if groups == nil {
		groups = productRules(t)
	}
	dir, address := t.TempDir(), testkit.FreeAddress(t)
	content, err := yaml.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), groups, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), content, 0o600))
	process, err := testkit.StartPrometheus(t.Context(), dir, address)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = process.Terminate(testkit.Patience)
		if t.Failed() {
			t.Logf("the end of Prometheus' log:\n%s", process.LogTail())
		}
	})
	p := realPrometheus{"http://" + address}
	p.await(t, len(targets), len(what.vms) > 0 && what.rules == nil && len(what.down) == 0)
	return p
}

// productRules are the product's, each to be evaluated soon.
func productRules(t *testing.T) []byte {
	t.Helper()
	content, err := rules.RulesFile(rules.Components())
	require.NoError(t, err)
	return regexp.MustCompile(`(?m)^ +interval: .*\n`).ReplaceAll(content, nil)
}

// await waits until all targets were scraped, each rule was evaluated and, if recorded, the rules have recorded VMs.
func (p realPrometheus) await(t *testing.T, targets int, recorded bool) {
	t.Helper()
	testkit.Eventually(t, func() error {
		var up, newest struct{ Data struct{ Result []any } }
		if err := p.get("query?query=up", &up); err != nil {
			return err
		}
		if len(up.Data.Result) != targets {
			return fmt.Errorf("%d of %d targets", len(up.Data.Result), targets)
		}
		var loaded struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health string }
				}
			}
		}
		if err := p.get("rules", &loaded); err != nil {
			return err
		}
		for _, group := range loaded.Data.Groups {
			for _, rule := range group.Rules {
				if rule.Health == "unknown" {
					return fmt.Errorf("the rule %s was not evaluated", rule.Name)
				}
			}
		}
		if err := p.get("query?query=vmi:kubevirt_vmi_hypervisor_info:newest", &newest); err != nil || !recorded || len(newest.Data.Result) > 0 {
			return err
		}
		return errors.New("nothing is recorded")
	})
}

func (p realPrometheus) get(path string, answer any) error {
	response, err := http.Get(p.url + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	return json.NewDecoder(response.Body).Decode(answer)
}

// operatorPod makes a running pod of a Prometheus operator with flags.
func operatorPod(t *testing.T, namespace, name string, flags ...string) {
	t.Helper()
	_, err := server.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.True(t, err == nil || apierrors.IsAlreadyExists(err), "%v", err)
	runningPod(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app.kubernetes.io/name": "prometheus-operator"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: name, AutomountServiceAccountToken: new(false), NodeName: "node-1",
			Containers: []corev1.Container{{Name: "prometheus-operator", Image: "none", Args: flags}},
		},
	})
	t.Cleanup(func() {
		require.NoError(t, server.Client.CoreV1().Pods(namespace).Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	})
}

package checks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// alertLimit is how long an alert's short copy may take to fire or to resolve: at most half a minute by its rule, and
// what Prometheus takes to see the cause; the kubelet first has to show it the copies.
const alertLimit = 2 * time.Minute

// podLabels are those of an alert about a VM's pod.
func podLabels(v vm, pod *corev1.Pod) map[string]string {
	return map[string]string{"namespace": v.namespace, "name": v.name, "node": pod.Spec.NodeName, "pod": pod.Name}
}

// vmLabels are those of an alert about a VM, with others, as names and values by turns.
func vmLabels(v vm, pod *corev1.Pod, more ...string) map[string]string {
	labels := map[string]string{"namespace": v.namespace, "name": v.name, "node": pod.Spec.NodeName}
	for i := 0; i < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	return labels
}

// awaitAlert waits until the alert fires in its short copy with exactly these labels, and where the copy differs only in
// how long it waits, until the product's own is at least pending. A person has to read from it what is wrong, with what,
// and where to look further.
func (w *world) awaitAlert(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	began := time.Now()
	want := alertRule(t, name)
	var fired cluster.Alert
	eventually(t, alertLimit, fmt.Sprintf("alert %s %v", name, labels), func(ctx context.Context) error {
		short, own, others, err := w.alerts(ctx, name, labels)
		if err != nil {
			return err
		}
		if short == nil || short.State != "firing" || own == nil && !minutes.MatchString(want.Expr) {
			return fmt.Errorf("the short copy %v, the product's own %v, with other labels %v", short, own, others)
		}
		fired = *short
		return nil
	})
	t.Logf("%s fired after %.1f s: %s", name, time.Since(began).Seconds(), fired.Annotations["description"])
	require.Equal(t, want.Labels["severity"], fired.Labels["severity"])
	require.Equal(t, want.Annotations["summary"], fired.Annotations["summary"])
	require.Regexp(t, description(want, labels), fired.Annotations["description"])
	runbook := filepath.Join("docs", "runbooks", name+".md")
	require.True(t, strings.HasSuffix(fired.Annotations["runbook_url"], "/"+runbook), fired.Annotations["runbook_url"])
	require.FileExists(t, filepath.Join(product(t), runbook))
}

// awaitResolved waits until the alert no longer fires.
func (w *world) awaitResolved(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	began := time.Now()
	want := alertRule(t, name)
	eventually(t, alertLimit, fmt.Sprintf("the end of alert %s %v", name, labels), func(ctx context.Context) error {
		short, own, _, err := w.alerts(ctx, name, labels)
		if err == nil && (short != nil || own != nil && !minutes.MatchString(want.Expr)) {
			err = errors.New("it is still there")
		}
		return err
	})
	t.Logf("%s resolved after %.1f s", name, time.Since(began).Seconds())
}

// alerts are the alert's short copy and the product's own with these labels, nil where it is not even pending, and all
// with others.
func (w *world) alerts(ctx context.Context, name string, labels map[string]string) (short, own *cluster.Alert, others []cluster.Alert, err error) {
	all, err := w.Alerts(ctx)
	for _, alert := range all {
		if alert.Labels["alertname"] != name {
			continue
		}
		telling := maps.Clone(alert.Labels)
		for _, label := range []string{"alertname", "severity", shortMark} {
			delete(telling, label)
		}
		switch {
		case !maps.Equal(telling, labels):
			others = append(others, alert)
		case alert.Labels[shortMark] != "":
			short = &alert
		default:
			own = &alert
		}
	}
	return short, own, others, err
}

func alertRule(t *testing.T, name string) rule {
	t.Helper()
	for _, group := range productRules(t) {
		if i := slices.IndexFunc(group.Rules, func(r rule) bool { return r.Alert == name }); i >= 0 {
			return group.Rules[i]
		}
	}
	require.Fail(t, "no such alert", name)
	return rule{}
}

// description is what the rule's template has to become: each label's value in its place, and a value where it wants one.
func description(r rule, labels map[string]string) string {
	text := regexp.QuoteMeta(r.Annotations["description"])
	for name, value := range labels {
		text = strings.ReplaceAll(text, regexp.QuoteMeta("{{ $labels."+name+" }}"), regexp.QuoteMeta(value))
	}
	return "^" + regexp.MustCompile(`\\{\\{ \\\$value[^}]*\\}\\}`).ReplaceAllString(text, `[0-9][0-9a-z .]*`) + "$"
}

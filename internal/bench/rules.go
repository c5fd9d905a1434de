package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/monitoring/rules"
	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

func milli(v float64) string { return fmt.Sprintf("%.0f ms", v*1e3) }

// rules measures how long a real Prometheus that holds 10,000 VMs evaluates each rule: as it is, and without the label of
// clusters. Only the expressions are measured, not how their results are written.
func (b *bench) rules(ctx context.Context) (*table, error) {
	folder, now := filepath.Join(b.folder, "rules"), time.Now().Truncate(10*time.Minute).Add(-24*time.Hour)
	progress("rules: writing the series")
	if err := writeHistory(ctx, folder, pick(b, 10_000, 200), now.Unix()); err != nil {
		return nil, err
	}
	server, stop, err := b.prometheus(ctx, folder)
	if err != nil {
		return nil, err
	}
	defer stop()
	none := ""
	settings := []rules.Settings{{}, {ClusterLabel: &none}}
	t := newTable([]string{"now", "without clusters"})
	for round := range pick(b, 15, 2) {
		progress(fmt.Sprintf("rules: round %d", round+1))
		for i := range settings {
			column := (i + round) % len(settings) // each goes first in turn
			often, rarely := 0., 0.
			for _, component := range settings[column].Components() {
				for _, group := range component.Groups {
					took, err := evaluateGroup(ctx, t, column, server, group, now)
					if err != nil {
						return nil, err
					}
					if group.Interval == 0 {
						often += took
					} else {
						rarely += took
					}
				}
			}
			t.add(column, "all rules of each interval", milli, often)
			t.add(column, "all rules of 5 minutes", milli, rarely)
			t.add(column, "a minute, at an interval of 1m", milli, often+rarely/5)
		}
	}
	return t, nil
}

// evaluateGroup adds how long each rule takes, and returns how long all do.
func evaluateGroup(ctx context.Context, t *table, column int, server string, group rules.Group, now time.Time) (all float64, err error) {
	for _, rule := range expressions(group) {
		took, err := evaluate(ctx, server, rule.Expr, now)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", rule.Name, err)
		}
		t.add(column, rule.Name, milli, took)
		all += took
	}
	return all, nil
}

// expressions lists the group's rules in their order.
func expressions(group rules.Group) []rules.Recording {
	all := slices.Clone(group.Recordings)
	for _, alert := range group.Alerts {
		all = append(all, rules.Recording{Name: alert.Name, Expr: alert.Expr})
	}
	return all
}

// evaluate returns the seconds that Prometheus says it needed.
func evaluate(ctx context.Context, server, expr string, at time.Time) (float64, error) {
	var data struct {
		Stats struct {
			Timings struct{ EvalTotalTime float64 }
		}
	}
	err := query(ctx, server, url.Values{"query": {expr}, "time": {strconv.FormatInt(at.Unix(), 10)}, "stats": {"all"}}, &data)
	return data.Stats.Timings.EvalTotalTime, err
}

// single returns the value of an expression that has one.
func single(ctx context.Context, server, expr string) (float64, error) {
	var data struct{ Result []struct{ Value [2]any } }
	if err := query(ctx, server, url.Values{"query": {expr}}, &data); err != nil {
		return 0, err
	}
	if len(data.Result) != 1 {
		return 0, fmt.Errorf("%s has %d values, not one", expr, len(data.Result))
	}
	return strconv.ParseFloat(fmt.Sprint(data.Result[0].Value[1]), 64)
}

// query sends a query and reads its data.
func query(ctx context.Context, server string, form url.Values, data any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server+"/api/v1/query", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer := struct {
		Error string
		Data  any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return fmt.Errorf("%s: %s", form.Get("query"), answer.Error)
	}
	return nil
}

// prometheus starts one over the blocks in the folder, and returns its URL.
func (b *bench) prometheus(ctx context.Context, folder string) (server string, stop func(), err error) {
	if err := os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte("global: {}\n"), 0o600); err != nil {
		return "", nil, err
	}
	address, err := testkit.Address()
	if err != nil {
		return "", nil, err
	}
	process, err := testkit.StartPrometheus(ctx, folder, address, "--storage.tsdb.retention.time=10y")
	if err != nil {
		return "", nil, err
	}
	return "http://" + address, process.Kill, nil
}

// writeHistory makes blocks with what Prometheus holds of that many VMs, 100 on each node: the series that the rules ask for, at
// an interval of 30 s, as far back as a rule looks. One VM of 20 is emulated; of one of 100, the type is unknown; one of 3
// has an older QEMU.
func writeHistory(ctx context.Context, folder string, vms int, now int64) (err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	path := filepath.Join(folder, "history")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 1<<20)
	for i := range vms {
		writeVM(out, i, now)
	}
	line := lines(out, now)
	for _, kind := range exposition.HypervisorTypes() {
		line(rules.ClusterCount, fmt.Sprintf("hypervisor_type=%q", kind), 1, 120)
		for i := range vms / 100 {
			line(rules.NodeCount, fmt.Sprintf(`node="node-%d",hypervisor_type=%q`, i, kind), 1, 120)
		}
	}
	for i := range 50 {
		line("kube_namespace_labels", fmt.Sprintf(`job="kube-state-metrics",namespace="team-%d",label_hypervisor_exporter_kubevirt_io_inject="enabled"`, i), 1, 120)
	}
	for i := range vms / 100 {
		relay := fmt.Sprintf(`job=%q,node="node-%d"`, rules.RelayJob, i)
		line("up", relay, 1, 120)
		line("kubevirt_node_virtualization_info", relay+`,virtualization="kvm",hardware_paging="on",nested="on"`, 1, 120)
	}
	for i := range 2 {
		replica := fmt.Sprintf(`job=%q,container="webhook",pod="webhook-%d"`, rules.WebhookJob, i)
		line("up", replica, 1, 86400)
		line("hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds", replica, float64(now+20*86400), 120)
	}
	_, _ = out.WriteString("# EOF\n")
	if err := out.Flush(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	output, err := exec.CommandContext(ctx, "promtool", "tsdb", "create-blocks-from", "openmetrics", path, filepath.Join(folder, "data")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("promtool (apt-get install -y --no-install-recommends prometheus): %w\n%s", err, output)
	}
	return os.Remove(path)
}

// lines returns a function that writes a sample every 30 s, from so many seconds ago until now. The buffer keeps its error.
func lines(out *bufio.Writer, now int64) func(metric, labels string, value float64, back int64) {
	return func(metric, labels string, value float64, back int64) {
		for at := now - back; at <= now; at += 30 {
			_, _ = fmt.Fprintf(out, "%s{%s} %g %d\n", metric, labels, value, at)
		}
	}
}

func writeVM(out *bufio.Writer, i int, now int64) {
	kind, domain, version := "kvm", "kvm", "9.1.0"
	if i%3 == 0 {
		version = "9.0.0"
	}
	switch {
	case i%20 == 0:
		kind, domain = "qemu-tcg", "qemu"
	case i%100 == 1:
		kind, domain = "unknown", ""
	}
	vm := fmt.Sprintf(`namespace="team-%d",name="vm-%d",node="node-%d"`, i%50, i, i/100)
	pod := fmt.Sprintf("virt-launcher-vm-%d-abcde", i)
	target := fmt.Sprintf(`job=%q,%s,pod=%q,container="hypervisor-exporter",endpoint="hv-metrics",instance="10.0.%d.%d:9478"`, rules.VMsJob, vm, pod, i/250, i%250)
	kubevirt := fmt.Sprintf(`job="kubevirt-prometheus-metrics",%s,phase="running",vmi_pod=%q,pod="virt-controller-1",os="linux",outdated="%t"`, vm, pod, version != "9.1.0")
	state := fmt.Sprintf(`job="kube-state-metrics",namespace="team-%d",pod=%q`, i%50, pod)
	line := lines(out, now)
	libvirt := 1.
	if domain == "" {
		libvirt = 0
	} else {
		line("kubevirt_vmi_hypervisor_domain_info", fmt.Sprintf(`%s,domain_type=%q,arch="x86_64",host_arch="x86_64",machine="pc-q35-9.1",hypervisor_version=%q,libvirt_version="10.10.0",hyperv="none"`, target, domain, version), 1, 120)
		line("kubevirt_vmi_hypervisor_control_state_seconds", target+`,control_state="ok"`, 0, 120)
		line("kubevirt_vmi_hypervisor_state_info", target+`,state="running",reason="booted"`, 1, 120)
	}
	line("up", target, 1, 120)
	line("hypervisor_exporter_libvirt_up", target, libvirt, 120)
	line("hypervisor_exporter_last_change_timestamp_seconds", target, float64(now-90000+int64(i)), 120)
	line("hypervisor_exporter_restarts_total", target, 0, 1800)
	line("kubevirt_vmi_hypervisor_info", fmt.Sprintf(`%s,hypervisor_type=%q`, target, kind), 1, 120)
	line("kubevirt_vmi_info", kubevirt, 1, 120)
	line("kube_pod_labels", state+`,label_hypervisor_exporter_kubevirt_io_inject="true"`, 1, 120)
	line("kube_pod_annotations", state, 1, 120)
	for _, phase := range []string{"Pending", "Running", "Succeeded", "Failed", "Unknown"} {
		value := 0.
		if phase == "Running" {
			value = 1
		}
		line("kube_pod_status_phase", fmt.Sprintf(`%s,phase=%q`, state, phase), value, 120)
	}
	recorded := fmt.Sprintf(`%s,hypervisor_type=%q`, vm, kind)
	for at := now - 86400; at < now-4200; at += 600 { // the nodes' rule looks back over a day, in steps of ten minutes
		_, _ = fmt.Fprintf(out, "%s{%s} 1 %d\n", rules.Newest, recorded, at)
	}
	line(rules.Newest, recorded, 1, 4200)
}

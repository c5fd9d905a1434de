package checks

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// scrapeInterval is that of cluster/manifests/prometheus.yaml.
const scrapeInterval = 5 * time.Second

const (
	vmsJob     = "hypervisor-exporter/hypervisor-exporter-vms"
	webhookJob = "hypervisor-exporter/hypervisor-exporter-webhook"
	relayJob   = "hypervisor-exporter-relay/hypervisor-exporter-relay"
)

// query returns the answer of a PromQL expression with the values filled in.
func (f *framework) query(promql string, values ...any) []cluster.Series {
	found, err := f.Query(f.ctx, fmt.Sprintf(promql, values...))
	f.must(err, promql)
	return found
}

// awaitSeries waits until the query has an answer.
func (f *framework) awaitSeries(promql string, values ...any) {
	f.until(fmt.Sprintf(promql, values...), func() bool { return len(f.query(promql, values...)) > 0 }, nil)
}

// number is the sum of the query's answers, 0 where it has none.
func (f *framework) number(promql string, values ...any) (sum float64) {
	for _, series := range f.query(promql, values...) {
		n, err := strconv.ParseFloat(series.Value[1].(string), 64)
		f.must(err)
		sum += n
	}
	return sum
}

// series selects the VM's series of a metric, by further matchers where there are any.
func (v vm) series(metric string, matchers ...string) string {
	own := fmt.Sprintf(`job=%q,namespace=%q,name=%q`, vmsJob, v.namespace, v.name)
	return metric + "{" + strings.Join(append(matchers, own), ",") + "}"
}

// infos are the VM's series of the product's metric.
func (f *framework) infos(v vm) []cluster.Series {
	return f.query("%s", v.series("kubevirt_vmi_hypervisor_info"))
}

// awaitInfo waits until Prometheus has exactly one series of the VM.
func (f *framework) awaitInfo(v vm) (found cluster.Series) {
	f.eventually("the series of "+v.key(), func() error {
		series := f.infos(v)
		if len(series) != 1 {
			return fmt.Errorf("%d series", len(series))
		}
		found = series[0]
		return nil
	})
	return found
}

// awaitNoSeries waits until Prometheus has no series of the VM, which has ended.
func (f *framework) awaitNoSeries(v vm) {
	ended := time.Now()
	f.until("the series to go with the VM", func() bool { return len(f.infos(v)) == 0 }, nil)
	f.t.Logf("series gone %.1f s after the VM", time.Since(ended).Seconds())
}

// awaitTarget waits until the VM's one target is up, or down.
func (f *framework) awaitTarget(v vm, health string) (found cluster.Target) {
	f.eventually("the target of "+v.key()+" to be "+health, func() error {
		targets, err := f.Targets(f.ctx, vmsJob)
		if err != nil {
			return err
		}
		own := slices.DeleteFunc(targets, func(t cluster.Target) bool {
			return t.Labels["namespace"] != v.namespace || t.Labels["name"] != v.name
		})
		if len(own) != 1 {
			return fmt.Errorf("%d targets", len(own))
		}
		if found = own[0]; found.Health != health {
			return fmt.Errorf("health %s: %s", found.Health, found.LastError)
		}
		return nil
	})
	return found
}

// requireMeasured fails unless the VM has a sidecar that is ready and scraped, and whose series has the type.
func (f *framework) requireMeasured(v vm, hypervisor string) {
	require.True(f.t, hasSidecar(f.pod(v)), v.key())
	f.awaitReady(v)
	require.Zero(f.t, f.sidecarState(v).RestartCount)
	f.awaitTarget(v, "up")
	require.Equal(f.t, hypervisor, f.awaitInfo(v).Metric["hypervisor_type"])
}

// scrapes are the outcomes of the VM's scrapes that began within the last while, the oldest first: true for up.
func (f *framework) scrapes(v vm, last time.Duration) []bool {
	found := f.query("%s[%dms]", v.series("up"), max(1, last.Milliseconds()))
	require.LessOrEqual(f.t, len(found), 1, "series of up")
	var up []bool
	for _, s := range found {
		for _, sample := range s.Values {
			up = append(up, sample[1] == "1")
		}
	}
	return up
}

func count(scrapes []bool, up bool) int {
	return len(slices.DeleteFunc(slices.Clone(scrapes), func(s bool) bool { return s != up }))
}

// scrapesWithout is how many scrapes of the VM in the last while came through without its series.
func (f *framework) scrapesWithout(v vm, hypervisor string, last time.Duration) float64 {
	seconds := int(last.Seconds()) + 1
	return f.number(`sum_over_time(%s[%ds])`, v.series("up"), seconds) -
		f.number(`count_over_time(%s[%ds])`, v.series("kubevirt_vmi_hypervisor_info", fmt.Sprintf("hypervisor_type=%q", hypervisor)), seconds)
}

// requireThroughout watches the VM until three scrapes have come through, and fails unless its series was there all along:
// in each page of the relay, requested once a second, and in each of these scrapes. A scrape that Prometheus did not get
// through on a busy machine says nothing about the page.
func (f *framework) requireThroughout(v vm, hypervisor string) {
	client, url, token := f.relayClient(), page(f.pod(v)), f.prometheusToken()
	began := time.Now()
	for ; count(f.scrapes(v, time.Since(began)), true) < 3; time.Sleep(time.Second) { // between two requests
		require.Less(f.t, time.Since(began), patience, "three scrapes that come through")
		code, body := get(f.t, client, url, token)
		require.Equal(f.t, http.StatusOK, code, body)
		require.Contains(f.t, body, fmt.Sprintf("kubevirt_vmi_hypervisor_info{hypervisor_type=%q,", hypervisor))
	}
	f.t.Logf("scrapes meanwhile: up %v", f.scrapes(v, time.Since(began)))
	require.Zero(f.t, f.scrapesWithout(v, hypervisor, time.Since(began)), "scrapes that came through without the series")
}

// awaitNoFormerWebhook waits until Prometheus shows no series of webhook pods that are gone. A check that uninstalled the
// product and installed it again leaves such series: a reload that removes a PodMonitor writes no stale markers.
func (f *framework) awaitNoFormerWebhook() {
	f.eventually("the series of former webhook pods to go", func() error {
		targets, err := f.Targets(f.ctx, webhookJob)
		if err != nil {
			return err
		}
		for _, series := range f.query(`hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds{job=%q}`, webhookJob) {
			if !slices.ContainsFunc(targets, func(t cluster.Target) bool { return t.Labels["pod"] == series.Metric["pod"] }) {
				return errors.New(series.Metric["pod"] + " is still there")
			}
		}
		return nil
	})
}

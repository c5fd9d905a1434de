package checks

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The same with software emulation is a part of TestEmulated.
func TestStart(t *testing.T) {
	t.Parallel()
	connect(t).checkStart("kvm")
}

// A VM in a labelled namespace has a sidecar, and Prometheus its one series, within two scrapes and with the right type.
// TestBindings checks its labels.
func (f *framework) checkStart(hypervisor string) {
	v := vm{namespace: labelled, name: "start-" + hypervisor}
	f.start(v)
	running := time.Now()
	pod := f.pod(v)
	found := f.awaitInfo(v)
	f.t.Logf("series %.1f s after phase Running: %v", time.Since(running).Seconds(), found.Metric)
	require.Equal(f.t, pod.Name, found.Metric["pod"])
	f.requireMeasured(v, hypervisor)
	require.LessOrEqual(f.t, f.scrapesWithout(v, hypervisor, time.Hour), 1.0, "scrapes that came through without the series")
	f.requireListed(v, hypervisor)
	f.remove(v)
	f.awaitNoSeries(v)
}

// relist is how often a kubelet before 1.36 checks whether a sidecar runs, to start the container after it. Newer ones
// notice at once (kubernetes/kubernetes#137362).
const relist = time.Second

// A VM with the sidecar starts within a tenth of the time that the same VM takes without, with KVM and with software
// emulation; with an older kubelet no more than one relist later than that.
func TestStartTime(t *testing.T) {
	f := connect(t)
	f.part("kvm", func(f *framework) { f.compareStarts("time-kvm") })
	f.part("emulated", func(f *framework) {
		f.emulated()
		f.compareStarts("time-emulated")
	})
}

// significant is how many of 25 pairs show a difference, by the sign test: where there is none, 19 or more are on one side
// in less than one of a hundred runs.
const significant = 19

// compareStarts measures five starts of each kind in turn. Five are few where other work on the machine delays a start by
// half a second: where their medians are too far apart, it takes five more, four times. After 25 it fails where the pairs
// show that a start costs more than a tenth, and not where they leave it open.
func (f *framework) compareStarts(name string) {
	namespaces := []string{plain, labelled}
	var wait time.Duration
	if !f.atLeast("1.36") {
		wait = relist
	}
	times := map[string][]time.Duration{}
	for round := range 25 {
		for i := range namespaces { // each is first in half of the rounds
			v := vm{namespace: namespaces[(round+i)%len(namespaces)], name: fmt.Sprintf("%s-%d", name, round)}
			times[v.namespace] = append(times[v.namespace], f.timeStart(v))
			f.removeNow(v)
		}
		if (round+1)%5 != 0 {
			continue
		}
		without, with := median(times[plain]), median(times[labelled])
		f.t.Logf("median start of %d: %.2f s without a sidecar, %.2f s with ours: %+.1f %%", round+1,
			without.Seconds(), with.Seconds(), 100*(with.Seconds()/without.Seconds()-1))
		if with <= without*11/10+wait {
			return
		}
	}
	over := 0
	for i, without := range times[plain] {
		if times[labelled][i] > without*11/10+wait {
			over++
		}
	}
	f.t.Logf("%d of %d starts with the sidecar took more than a tenth longer than the one without beside it", over, len(times[plain]))
	require.Less(f.t, over, significant, "the sidecar costs more than a tenth, and %s: %v", wait, times)
}

// timeStart is the time from a VM's creation to the moment when it is seen running.
func (f *framework) timeStart(v vm) time.Duration {
	r := f.watch(v)
	defer r.stop()
	started := time.Now()
	f.create(v)
	return f.await(r, "vmi Running").Sub(started)
}

func median(d []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(d))[len(d)/2]
}

package checks

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// ending is one way that a VM ends.
type ending struct {
	name, disk string
	act        func(f *framework, v vm)
	states     []string // of VM and pod at last
}

// endings are the ways that a VM ends.
func endings() []ending {
	byItself := func(*framework, vm) {}
	ended := []string{"vmi Succeeded", "pod Succeeded", "pod ended"}
	gone := []string{"vmi gone", "pod gone"}
	return []ending{
		{"guest-shutdown", "off", byItself, ended},
		{"stop", "acpi", deleteVM(nil), gone},
		{"force-delete", "acpi", deleteVM(new(int64)), gone},
		{"guest-crash", "crash", byItself, []string{"vmi Failed", "pod ended"}},
	}
}

func deleteVM(grace *int64) func(f *framework, v vm) {
	return func(f *framework, v vm) {
		resource, err := f.Resource(vmiKind, v.namespace)
		f.must(err)
		f.must(resource.Delete(f.ctx, v.name, metav1.DeleteOptions{GracePeriodSeconds: grace}))
	}
}

// pair is a VM without a sidecar and the same with it, and what was seen of them. They run beside each other, so that what
// else the machine does affects both.
type pair [2]*recorder

// startPair starts a pair and waits until both run, and their guests, where they have to obey the power button.
func (f *framework) startPair(name, disk string) (p pair) {
	for i, namespace := range []string{plain, labelled} {
		v := vm{namespace: namespace, name: name, disk: disk}
		p[i] = f.watch(v)
		f.create(v)
	}
	for _, r := range p { // not the phase of now: the guest may have ended meanwhile
		f.await(r, "vmi Running")
	}
	require.True(f.t, hasSidecar(f.pod(p[1].vm)))
	if disk == "acpi" {
		f.awaitGuests(p[0].vm, p[1].vm)
	}
	return p
}

// check fails unless VM and pod come to the same end with the sidecar as without it, and no later than a second after. The
// series goes with the VM.
func (e ending) check(f *framework) {
	f.threeTries(func(try int) error {
		p := f.startPair(fmt.Sprintf("life-%s-%d", e.name, try), e.disk)
		for _, r := range p {
			e.act(f, r.vm)
			r.note("act")
		}
		err := f.compare(p, e.states)
		f.awaitNoSeries(p[1].vm)
		return err
	})
}

// compare waits until both have reached the states, and compares how long after the end of compute that was; after the act
// where the pod was gone before compute's end was seen.
func (f *framework) compare(p pair, states []string) (late error) {
	for _, state := range states {
		for _, r := range p {
			f.await(r, state)
		}
	}
	since := "compute ended"
	if p[0].at(since).IsZero() || p[1].at(since).IsZero() {
		since = "act"
	}
	f.t.Logf("without: %v\nwith:    %v", p[0].states(), p[1].states())
	for _, state := range states {
		var after [2]time.Duration
		for i, r := range p {
			after[i] = r.at(state).Sub(r.at(since))
		}
		f.t.Logf("%s after %q: %.2f s without, %.2f s with the sidecar", state, since, after[0].Seconds(), after[1].Seconds())
		if after[1] > after[0]+time.Second {
			late = errors.Join(late, fmt.Errorf("%s after %q: %s without, %s with the sidecar", state, since, after[0], after[1]))
		}
	}
	return late
}

// A VM whose guest shuts down while the kubelet holds its sidecar back (CrashLoopBackOff) ends as one without a sidecar,
// and its pod too: also where no kubelet runs at that moment, and the next one finds both ended.
func checkBackOff(f *framework) {
	f.endInBackOff("back-off", func() (resume func()) { return func() {} })
	f.endInBackOff("kubelet-restarts", func() (resume func()) { return f.holdProgram("kubelet") })
}

func (f *framework) endInBackOff(name string, hold func() (resume func())) {
	f.threeTries(func(try int) error {
		p := f.startPair(fmt.Sprintf("end-in-%s-%d", name, try), "acpi")
		with := p[1].vm
		// The kubelet then holds it back for 20 s, longer than a guest takes to shut down; for 40 s, where that was too short.
		restarts := int32(1 + try)
		f.putInBackOff(with, restarts)
		resume := hold()
		f.powerOff(p[0].vm, with)
		for _, r := range p {
			pod := f.pod(r.vm)
			f.until("compute of "+r.key()+" to end", func() bool { return f.findPID(pod, "compute") == "" }, nil)
		}
		resume()
		var failed [2]bool
		for i, r := range p {
			r.note("act")
			f.await(r, "vmi Succeeded") // before compute's end is seen
			f.await(r, "pod ended")
			// A kubelet that starts may refuse a pod that it finds, because KubeVirt's devices are not registered yet
			// (UnexpectedAdmissionError): that is the end of both.
			failed[i] = slices.Contains(r.states(), "pod Failed")
			require.NotContains(f.t, r.states(), "vmi Failed")
		}
		late := f.compare(p, []string{"pod ended"})
		if failed[0] != failed[1] {
			late = errors.Join(late, fmt.Errorf("the pod failed: %t without, %t with the sidecar", failed[0], failed[1]))
		}
		if now := f.sidecarState(with).RestartCount; now != restarts {
			late = errors.Join(late, fmt.Errorf("%d restarts of the sidecar: it was not held back all along", now))
		}
		return late
	})
}

// putInBackOff kills the sidecar's container until the kubelet holds it back after so many restarts.
func (f *framework) putInBackOff(v vm, restarts int32) {
	f.eventually("the sidecar to be held back", func() error {
		pod := f.pod(v)
		now := status(pod, sidecar)
		if waiting := now.State.Waiting; waiting != nil && waiting.Reason == "CrashLoopBackOff" && now.RestartCount == restarts {
			return nil
		}
		if pid := f.findPID(pod, sidecar); pid != "" {
			_, _ = f.node.Run(f.ctx, "kill", "-9", pid) // it may have ended meanwhile
		}
		return errors.New(cluster.ContainerState(now))
	})
	f.t.Logf("sidecar: %s", cluster.ContainerState(f.sidecarState(v)))
}

// powerOff presses the power button of the VMs' guests, side by side.
func (f *framework) powerOff(vms ...vm) {
	var pressed sync.WaitGroup
	failures := make([]error, len(vms))
	for i, v := range vms {
		pid := f.containerPID(f.pod(v), "compute")
		pressed.Go(func() {
			_, failures[i] = f.node.Run(f.ctx, "nsenter", "-t", pid, "-m", "-p", "-n", "--", "virsh", "-c", libvirtURI,
				"shutdown", v.namespace+"_"+v.name, "--mode", "acpi")
		})
	}
	pressed.Wait()
	f.must(errors.Join(failures...))
}

// awaitGuests waits until each guest answers on port 80: only then does it obey the power button.
func (f *framework) awaitGuests(vms ...vm) {
	for _, v := range vms {
		address := net.JoinHostPort(f.pod(v).Status.PodIP, "80")
		f.eventually("the guest of "+v.key(), func() error {
			answer, err := f.node.Run(f.ctx, "curl", "-s", "-m", "10", "http://"+address+"/")
			if err == nil && answer == "" {
				err = errors.New("no answer")
			}
			return err
		})
	}
}

package survey

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// lister is a cluster that lists everything twice, as a list that was started again does.
type lister struct {
	vmis      []vm.VMI
	launchers []vm.Launcher
	err       error
	podsErr   error
	events    []corev1.Event
	eventsErr error
}

func (w lister) EachVMI(_ context.Context, _ string, _ metav1.ListOptions, use func(vm.VMI)) error {
	for range 2 {
		for _, one := range w.vmis {
			use(one)
		}
	}
	return w.err
}

func (w lister) EachLauncher(_ context.Context, _ string, _ inject.Config, use func(vm.Launcher)) error {
	for range 2 {
		for _, one := range w.launchers {
			use(one)
		}
	}
	return w.podsErr
}

func (w lister) EachFailedCreate(_ context.Context, _, _ string, use func(*corev1.Event)) error {
	for i := range w.events {
		use(&w.events[i])
	}
	return w.eventsErr
}

// answers is a source that knows some VMs.
type answers map[string]error

func (a answers) Name() string { return "relay" }
func (a answers) Close()       {}
func (a answers) Find(_ context.Context, target source.Target) (source.Finding, error) {
	return source.Finding{Type: "kvm"}, a[target.VMI.Name]
}

func TestList(t *testing.T) {
	var w lister
	for _, name := range []string{"good", "lost", "absent", "stolen", "starting"} {
		phase := vm.Running
		if name == "starting" {
			phase = "Scheduling"
		}
		w.vmis = append(w.vmis, vm.VMI{Namespace: "shop", Name: name, UID: "uid-" + name, Phase: phase, Node: "node-1"})
		w.launchers = append(w.launchers, vm.Launcher{
			Namespace: "shop", Name: "pod-" + name, UID: "pod-uid-" + name, Owner: "uid-" + name, OwnerName: name, Node: "node-1",
			Phase: corev1.PodRunning, Sidecar: vm.Sidecar{State: vm.Up},
		})
	}
	w.launchers[2].Sidecar.State, w.launchers[2].Decision = vm.Absent, inject.Injected
	w.launchers[2].Created = time.Unix(100, 0)
	// A pod of another namespace that names the VMI.
	w.launchers = append(w.launchers, vm.Launcher{Namespace: "evil", Name: "fake", UID: "x", Owner: "uid-good", OwnerName: "good", Node: "node-1", Sidecar: vm.Sidecar{State: vm.Up}})
	// A second one in the VMI's own.
	w.launchers = append(w.launchers, vm.Launcher{Namespace: "shop", Name: "by-hand", UID: "y", Owner: "uid-stolen", OwnerName: "stolen", Node: "node-1", Sidecar: vm.Sidecar{State: vm.Up}})
	read := 0
	request := Request{
		Source:  answers{"lost": source.ErrNoSeries},
		Enabled: cluster.Once(func(context.Context, string) vm.Enabled { read++; return vm.EnabledYes }),
	}
	vms, err := List(t.Context(), w, request)
	require.NoError(t, err)
	require.Len(t, vms, 5)
	byName := map[string]VM{}
	for _, one := range vms {
		byName[one.VMI.Name] = one
	}
	require.Equal(t, "kvm", byName["good"].Finding.Type)
	require.Equal(t, "relay", byName["good"].Source)
	require.Equal(t, "pod-good", byName["good"].Launcher.Name)
	require.Nil(t, byName["lost"].Finding)
	require.ErrorIs(t, byName["lost"].Err, source.ErrNoSeries)
	require.False(t, byName["lost"].Unasked())
	require.Equal(t, vm.Missed, byName["absent"].Cause.Why)
	require.Equal(t, vm.Ambiguous, byName["stolen"].Cause.Why)
	require.Nil(t, byName["stolen"].Finding, "a pod that may not be the VM's is not asked")
	require.Equal(t, vm.NotRunning, byName["starting"].Cause.Why)
	require.Equal(t, 1, read, "the label is read where it matters, and once")

	explained := func(event corev1.Event) vm.Cause {
		again := w
		again.events = []corev1.Event{event}
		vms, err := List(t.Context(), again, request)
		require.NoError(t, err)
		for _, one := range vms {
			if one.VMI.Name == "absent" {
				return one.Cause
			}
		}
		return vm.Cause{}
	}
	refused := corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Reason: "FailedCreate", LastTimestamp: metav1.Unix(99, 0), Message: `Error creating pod: pods "x" is forbidden: too small`,
		InvolvedObject: corev1.ObjectReference{Kind: "VirtualMachineInstance", UID: "uid-absent"},
	}
	require.Equal(t, vm.Cause{Why: vm.RefusedBefore, Detail: "too small"}, explained(refused))
	refused.Namespace = "evil"
	require.Equal(t, vm.Missed, explained(refused).Why, "an event of another namespace")
	refused.Namespace, refused.InvolvedObject.UID = "shop", "uid-good"
	require.Equal(t, vm.Missed, explained(refused).Why, "an event of another VM")
	w.eventsErr = errors.New("you may not")
	var note error
	request.Note = func(err error) { note = err }
	require.Equal(t, vm.Missed, explained(refused).Why)
	require.ErrorIs(t, note, w.eventsErr, "a note, not a failure")

	request.Source = nil
	vms, err = List(t.Context(), w, request)
	require.NoError(t, err)
	for _, one := range vms {
		require.Nil(t, one.Finding)
		require.NoError(t, one.Err)
	}
	w.podsErr = errors.New("pods are gone")
	_, err = List(t.Context(), w, request)
	require.ErrorIs(t, err, w.podsErr)
	w.err = errors.New("VMIs are gone")
	_, err = List(t.Context(), w, request)
	require.ErrorIs(t, err, w.err, "always the same of two")
}

func TestManyReasons(t *testing.T) {
	byReason := map[string][]string{}
	for _, reason := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		byReason[reason] = []string{"shop/" + reason}
	}
	byReason["f"] = append(byReason["f"], "shop/more")
	reasons := MostFrequent(byReason)
	require.Len(t, reasons, mostReasons)
	require.Equal(t, []string{"f", "a", "b", "c"}, reasons[:mostReasons-1])
	require.Equal(t, []string{"shop/d", "shop/e", "shop/g"}, byReason[reasons[mostReasons-1]])
}

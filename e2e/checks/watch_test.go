package checks

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// recorder records when a VM and its pod were first seen in each state.
type recorder struct {
	vm
	mutex   sync.Mutex
	seen    map[string]time.Time
	order   []string
	running sync.WaitGroup
	stop    func()
}

func (r *recorder) note(state string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if _, ok := r.seen[state]; !ok {
		r.seen[state] = time.Now()
		r.order = append(r.order, state)
	}
}

// at is when the state was first seen, zero if it was not.
func (r *recorder) at(state string) time.Time {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.seen[state]
}

// states are all so far, in the order in which they were first seen.
func (r *recorder) states() []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return slices.Clone(r.order)
}

// watch records, until the check ends: "vmi PHASE", "pod PHASE", "vmi gone", "pod gone", "compute ended", "pod ready=…".
func (f *framework) watch(v vm) *recorder {
	ctx, stop := context.WithCancel(f.ctx)
	r := &recorder{vm: v, seen: map[string]time.Time{}, stop: stop}
	vmis, err := f.Resource(vmiKind, v.namespace)
	f.must(err)
	f.t.Cleanup(func() { stop(); r.running.Wait() })
	r.follow(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + v.name}, vmis.Watch, func(object runtime.Object, gone bool) {
		if vmi, ok := object.(*unstructured.Unstructured); ok {
			phase, _, _ := unstructured.NestedString(vmi.Object, "status", "phase")
			r.note("vmi " + unless(gone, phase))
		}
	})
	r.follow(ctx, metav1.ListOptions{LabelSelector: "check=" + v.name}, f.CoreV1().Pods(v.namespace).Watch, func(object runtime.Object, gone bool) {
		if pod, ok := object.(*corev1.Pod); ok {
			r.notePod(pod, gone)
		}
	})
	return r
}

// follow watches until ctx ends, and again where a watch is broken off. It begins with what the API server's cache
// holds: the newest would need a progress notice of etcd, which Debian's does not give (ResourceVersionTooLarge).
func (r *recorder) follow(ctx context.Context, options metav1.ListOptions,
	begin func(context.Context, metav1.ListOptions) (watch.Interface, error), see func(object runtime.Object, gone bool)) {
	options.ResourceVersion = "0"
	r.running.Go(func() {
		for ctx.Err() == nil {
			watching, err := begin(ctx, options)
			if err == nil {
				for event := range watching.ResultChan() {
					if event.Type != watch.Error {
						see(event.Object, event.Type == watch.Deleted)
					}
				}
				watching.Stop()
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
}

func (r *recorder) notePod(pod *corev1.Pod, gone bool) {
	if status(pod, "compute").State.Terminated != nil {
		r.note("compute ended")
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && pod.Status.Phase == corev1.PodRunning {
			r.note("pod ready=" + string(condition.Status))
		}
	}
	r.note("pod " + unless(gone, string(pod.Status.Phase)))
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		r.note("pod ended")
	}
}

func unless(gone bool, phase string) string {
	if gone {
		return "gone"
	}
	return phase
}

// await waits until the VM was seen in the state, and returns when.
func (f *framework) await(r *recorder, state string) time.Time {
	f.until(r.key()+": "+state, func() bool { return !r.at(state).IsZero() }, func() any { return r.states() })
	return r.at(state)
}

// observe waits until the VM's pod is ready, and returns what fails the check unless, from now on, VM and sidecar go on
// in the same containers and the pod stays ready.
func (f *framework) observe(v vm) (requireUntouched func()) {
	f.awaitReady(v)
	states, compute := f.watch(v), f.computeID(v)
	f.await(states, "pod ready=True")
	return func() {
		f.requireAlive(v, compute)
		if hasSidecar(f.pod(v)) {
			require.Zero(f.t, f.sidecarState(v).RestartCount)
		}
		require.NotContains(f.t, states.states(), "pod ready=False")
	}
}

// requireAlive fails unless the VM runs in the container that it ran in before.
func (f *framework) requireAlive(v vm, compute string) {
	f.must(f.isIn(v, "Running"))
	require.Equal(f.t, compute, f.computeID(v))
}

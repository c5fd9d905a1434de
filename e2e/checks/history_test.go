package checks

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// history is when the VM and its pod were first seen in each state.
type history struct {
	mutex sync.Mutex
	seen  map[string]time.Time
	order []string
	stop  func()
}

func (h *history) note(state string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if _, ok := h.seen[state]; !ok {
		h.seen[state] = time.Now()
		h.order = append(h.order, state)
	}
}

// at is when the state was first seen.
func (h *history) at(state string) (time.Time, bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	when, ok := h.seen[state]
	return when, ok
}

// states are all so far, in the order in which they were first seen.
func (h *history) states() []string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return slices.Clone(h.order)
}

// watch notes, until the test ends: "vmi PHASE", "pod PHASE", "vmi gone", "pod gone", "compute ended", "pod unready".
func (w *world) watch(t *testing.T, v vm) *history {
	t.Helper()
	h := &history{seen: map[string]time.Time{}}
	ctx, stop := context.WithCancel(context.Background())
	vmis, err := w.Resource(vmiKind, v.namespace)
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		follow(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + v.name}, vmis.Watch, func(object runtime.Object, gone bool) {
			if vmi, ok := object.(*unstructured.Unstructured); ok {
				phase, _, _ := unstructured.NestedString(vmi.Object, "status", "phase")
				h.note("vmi " + unless(gone, phase))
			}
		})
	})
	running.Go(func() {
		follow(ctx, metav1.ListOptions{LabelSelector: "check=" + v.name}, w.CoreV1().Pods(v.namespace).Watch, func(object runtime.Object, gone bool) {
			if pod, ok := object.(*corev1.Pod); ok {
				h.notePod(pod, gone)
			}
		})
	})
	h.stop = func() { stop(); running.Wait() }
	t.Cleanup(h.stop)
	return h
}

// follow watches until ctx ends, and again where a watch is broken off. It begins with what the API server's cache
// holds: the newest would need a progress notice of etcd, which Debian's does not give (ResourceVersionTooLarge).
func follow(ctx context.Context, options metav1.ListOptions, begin func(context.Context, metav1.ListOptions) (watch.Interface, error), see func(object runtime.Object, gone bool)) {
	options.ResourceVersion = "0"
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
}

func (h *history) notePod(pod *corev1.Pod, gone bool) {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == "compute" && status.State.Terminated != nil {
			h.note("compute ended")
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && pod.Status.Phase == corev1.PodRunning {
			h.note("pod ready=" + string(condition.Status))
		}
	}
	h.note("pod " + unless(gone, string(pod.Status.Phase)))
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		h.note("pod ended")
	}
}

func unless(gone bool, phase string) string {
	if gone {
		return "gone"
	}
	return phase
}

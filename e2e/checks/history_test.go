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
	vmiWatch, err := vmis.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + v.name})
	require.NoError(t, err)
	podWatch, err := w.CoreV1().Pods(v.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: "check=" + v.name})
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for event := range vmiWatch.ResultChan() {
			if object, ok := event.Object.(*unstructured.Unstructured); ok {
				phase, _, _ := unstructured.NestedString(object.Object, "status", "phase")
				h.note("vmi " + unless(event.Type == watch.Deleted, phase))
			}
		}
	})
	running.Go(func() {
		for event := range podWatch.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok {
				h.notePod(pod, event.Type == watch.Deleted)
			}
		}
	})
	h.stop = func() { stop(); vmiWatch.Stop(); podWatch.Stop(); running.Wait() }
	t.Cleanup(h.stop)
	return h
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

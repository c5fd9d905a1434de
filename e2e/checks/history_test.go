package checks

import (
	"context"
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
}

func (h *history) note(state string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if len(h.order) == 0 || h.order[len(h.order)-1] != state {
		h.order = append(h.order, state)
	}
	if _, ok := h.seen[state]; !ok {
		h.seen[state] = time.Now()
	}
}

// at is when the state was first seen.
func (h *history) at(state string) (time.Time, bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	when, ok := h.seen[state]
	return when, ok
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
	t.Cleanup(func() { stop(); vmiWatch.Stop(); podWatch.Stop(); running.Wait() })
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
}

func unless(gone bool, phase string) string {
	if gone {
		return "gone"
	}
	return phase
}

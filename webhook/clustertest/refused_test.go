package clustertest

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/workqueue"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// mostRefusals is how often a VM's pod may be refused until it is created without the sidecar: package refusals, with two
// replicas that see a part each. With virt-controller's pauses these take 10 s; on a busy machine they are fewer.
const mostRefusals = 12

// A pod that is refused with the sidecar is created without it within seconds, whatever refuses it, as are those of the
// VM's migrations. Pods that nothing refuses any more have it at once.
func TestPodThatIsRefusedIsCreatedWithout(t *testing.T) {
	for replicas := 1; replicas <= 2; replicas++ {
		t.Run(fmt.Sprintf("%d replicas", replicas), func(t *testing.T) {
			serveReplicas(t, replicas)
			for name, refuse := range refusers {
				if replicas == 2 && name != "image allow-list" && !testkit.Soak() {
					continue // what refuses the pod makes no difference to two replicas
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					namespace := server.Namespace(t, "refused", labelled())
					impose(t, refuse, namespace)
					vm := ofNewVM(launcher(t, namespace, "masq"))
					got := createAsKubeVirt(t, vm)
					require.False(t, injected(got.pod))
					require.LessOrEqual(t, got.refused, mostRefusals)
					t.Logf("first pod: refused %d times, created after %s; the last: %v", got.refused, got.took.Round(time.Millisecond), got.last)
					remove(t, got.pod)

					setLabel(vm, "kubevirt.io/migrationJobUID", "4b7e7a9c-0000-4000-8000-000000000001")
					got = createAsKubeVirt(t, vm)
					require.False(t, injected(got.pod))
					require.LessOrEqual(t, got.refused, mostRefusals)
					remove(t, got.pod)

					free(t, namespace)
					setLabel(vm, "kubevirt.io/migrationJobUID", "4b7e7a9c-0000-4000-8000-000000000002")
					requireInjectedAtOnce(t, "the next migration", vm)
					requireInjectedAtOnce(t, "the VM made again", ofNewVM(launcher(t, namespace, "masq")))
				})
			}
		})
	}
}

// A VM that waits for others gets its sidecar if they let it in at once, and when it has its turn.
func TestVMThatWaitsForAQuotaGetsItsSidecar(t *testing.T) {
	replicas, _ := serveReplicas(t, 1)
	for name, raise := range map[string]func(replicas []*replica, refused int) bool{
		"after two tries": func(_ []*replica, refused int) bool { return refused == 2 },
		"once a pod without the sidecar was refused as well": func(replicas []*replica, _ int) bool { return count(t, replicas, leftAlone) > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := server.Namespace(t, "waits", labelled())
			impose(t, noPods, namespace)
			raised := false
			got := createAsKubeVirt(t, ofNewVM(launcher(t, namespace, "masq")), func(refused int) {
				if !raised && raise(replicas, refused) {
					free(t, namespace)
					raised = true
				}
			})
			t.Logf("refused %d times, created after %s", got.refused, got.took.Round(time.Millisecond))
			require.True(t, injected(got.pod))
		})
	}
}

// The API server asks again within a request when a later webhook has changed the pod. That is no refusal; and a pod that
// was left alone stays so.
func TestASecondReviewWithinARequestIsNoRefusal(t *testing.T) {
	replicas, _ := serveReplicas(t, 1)
	for name, takes := range map[string]time.Duration{"at once": 0, "after 1.2 s": 1200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			startLaterWebhook(t, takes)
			free := server.Namespace(t, "free", labelled())
			before := admissions(t, replicas)
			requireInjectedAtOnce(t, "nothing refuses it", ofNewVM(launcher(t, free, "masq")))
			require.Equal(t, 1, admissions(t, replicas)-before, "the sidecar is there: matchConditions leave the webhook out")

			namespace := server.Namespace(t, "again", labelled())
			impose(t, allowList, namespace)
			got := createAsKubeVirt(t, ofNewVM(launcher(t, namespace, "masq")))
			t.Logf("refused %d times, created after %s, reviewed %d times", got.refused, got.took.Round(time.Millisecond), admissions(t, replicas)-before-1)
			require.False(t, injected(got.pod))
			require.Equal(t, "yes", got.pod.GetAnnotations()["later"])
			require.Greater(t, admissions(t, replicas)-before-1, got.refused+1, "it was asked twice within a request")
		})
	}
}

// leftAlone counts the pods that the webhook left alone because those before were refused.
var leftAlone = regexp.MustCompile(`(?m)^hypervisor_exporter_webhook_admissions_total\{reason="refused_before",.*\} (\d+)$`)

// creation is what became of a pod.
type creation struct {
	pod     *unstructured.Unstructured
	refused int
	took    time.Duration
	last    error // the last refusal
}

// createAsKubeVirt creates the pod until it is admitted, with the pauses of virt-controller's queue. After each refusal it
// calls onRefusal with their number.
func createAsKubeVirt(t *testing.T, pod *unstructured.Unstructured, onRefusal ...func(refused int)) creation {
	t.Helper()
	backOff := workqueue.NewTypedItemExponentialFailureRateLimiter[string](5*time.Millisecond, 1000*time.Second)
	start, c := time.Now(), creation{}
	for {
		var err error
		if c.pod, err = server.Create(t.Context(), pod.DeepCopy(), metav1.CreateOptions{}); err == nil {
			c.took = time.Since(start)
			return c
		}
		c.refused, c.last = c.refused+1, err
		for _, call := range onRefusal {
			call(c.refused)
		}
		pause := backOff.When("vm")
		require.Less(t, c.refused, 2*mostRefusals, "%v", err)
		time.Sleep(pause)
	}
}

func requireInjectedAtOnce(t *testing.T, what string, pod *unstructured.Unstructured) {
	t.Helper()
	stored, err := server.Create(t.Context(), pod.DeepCopy(), metav1.CreateOptions{})
	require.NoError(t, err, what)
	require.True(t, injected(stored), what)
}

func remove(t *testing.T, pod *unstructured.Unstructured) {
	t.Helper()
	now := int64(0)
	err := server.Client.CoreV1().Pods(pod.GetNamespace()).Delete(t.Context(), pod.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
	require.NoError(t, err)
}

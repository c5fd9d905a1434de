package clustertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/workqueue"
)

// refusedFor is what may go by until a VM starts whose pods are refused with the sidecar: package refusals, with two
// replicas that see a part each.
const refusedFor = 12 * time.Second

// refusers make the namespace refuse the sidecar, but not the VM's own containers.
var refusers = map[string]func(t *testing.T, namespace string){
	"LimitRange, least memory of a container": func(t *testing.T, namespace string) {
		limit(t, namespace, corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Min: corev1.ResourceList{"memory": resource.MustParse("32Mi")}})
	},
	"LimitRange, most memory of a pod": func(t *testing.T, namespace string) {
		limit(t, namespace, corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: corev1.ResourceList{"memory": resource.MustParse("440Mi")}})
	},
	"ResourceQuota without room for it": func(t *testing.T, namespace string) {
		quota(t, namespace, corev1.ResourceList{"requests.memory": resource.MustParse("440Mi")})
	},
	"image allow-list": allowKubeVirtsImages,
}

// A pod that is refused with the sidecar is created without it within seconds, whatever refuses it, as are those of the
// VM's migrations. Pods that nothing refuses any more have it at once.
func TestPodThatIsRefusedIsCreatedWithout(t *testing.T) {
	for replicas := 1; replicas <= 2; replicas++ {
		t.Run(fmt.Sprintf("%d replicas", replicas), func(t *testing.T) {
			serveReplicas(t, replicas)
			for name, refuse := range refusers {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					namespace := server.Namespace(t, "refused", labelled())
					refuse(t, namespace)
					vm := ofNewVM(launcher(t, namespace, "masq"))
					got := createAsKubeVirt(t, vm)
					require.False(t, injected(got.pod))
					require.Less(t, got.took, refusedFor)
					t.Logf("first pod: refused %d times, created after %s; the last: %v", got.refused, got.took.Round(time.Millisecond), got.last)
					remove(t, got.pod)

					setLabel(vm, "kubevirt.io/migrationJobUID", "4b7e7a9c-0000-4000-8000-000000000001")
					got = createAsKubeVirt(t, vm)
					require.False(t, injected(got.pod))
					require.Less(t, got.took, refusedFor)
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
	for name, raise := range map[string]func(replicas []*replica, refused int) bool{
		"after two tries": func(_ []*replica, refused int) bool { return refused == 2 },
		"once a pod without the sidecar was refused as well": func(replicas []*replica, _ int) bool { return count(t, replicas, leftAlone) > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			replicas, _ := serveReplicas(t, 1)
			namespace := server.Namespace(t, "waits", labelled())
			quota(t, namespace, corev1.ResourceList{"pods": resource.MustParse("0")})
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

// Dry runs, which `kubectl hypervisor check` makes, are no tries of a VM.
func TestDryRunsAreNotRefusals(t *testing.T) {
	serveReplicas(t, 1)
	namespace := server.Namespace(t, "dry", labelled())
	vm := ofNewVM(launcher(t, namespace, "masq"))
	for begin := time.Now(); time.Since(begin) < 3*time.Second; time.Sleep(200 * time.Millisecond) {
		pod, err := server.Create(t.Context(), vm, dryRun())
		require.NoError(t, err)
		require.True(t, injected(pod))
	}
	requireInjectedAtOnce(t, "the pod that is stored", vm)
}

// The API server asks again within a request when a later webhook has changed the pod. That is no refusal; and a pod that
// was left alone stays so.
func TestASecondReviewWithinARequestIsNoRefusal(t *testing.T) {
	for name, takes := range map[string]time.Duration{"at once": 0, "after 1.2 s": 1200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			replicas, _ := serveReplicas(t, 1)
			laterWebhook(t, takes)
			free := server.Namespace(t, "free", labelled())
			before := admissions(t, replicas)
			requireInjectedAtOnce(t, "nothing refuses it", ofNewVM(launcher(t, free, "masq")))
			require.Equal(t, 1, admissions(t, replicas)-before, "the sidecar is there: matchConditions leave the webhook out")

			namespace := server.Namespace(t, "again", labelled())
			allowKubeVirtsImages(t, namespace)
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
		require.Less(t, time.Since(start)+pause, time.Minute, "refused %d times: %v", c.refused, err)
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
	quotas, err := server.Client.CoreV1().ResourceQuotas(pod.GetNamespace()).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, q := range quotas.Items { // a controller's work
		for name := range q.Status.Used {
			q.Status.Used[name] = resource.MustParse("0")
		}
		_, err := server.Client.CoreV1().ResourceQuotas(pod.GetNamespace()).UpdateStatus(t.Context(), &q, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
}

func limit(t *testing.T, namespace string, item corev1.LimitRangeItem) {
	t.Helper()
	_, err := server.Client.CoreV1().LimitRanges(namespace).Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "refuses"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	awaitRefusal(t, namespace)
}

// quota makes a ResourceQuota and its status, which is a controller's work.
func quota(t *testing.T, namespace string, hard corev1.ResourceList) {
	t.Helper()
	quotas, used := server.Client.CoreV1().ResourceQuotas(namespace), corev1.ResourceList{}
	for name := range hard {
		used[name] = resource.MustParse("0")
	}
	made, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "refuses"}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	made.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: used}
	_, err = quotas.UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
	require.NoError(t, err)
	awaitRefusal(t, namespace)
}

// allowKubeVirtsImages is what clusters have that trust some registries only.
func allowKubeVirtsImages(t *testing.T, namespace string) {
	t.Helper()
	policies, bindings := server.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies(), server.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	_, err := policies.Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{
				Expression: `(object.spec.containers + object.spec.?initContainers.orValue([])).all(c, c.image.startsWith("quay.io/kubevirt/"))`,
				Message:    "images from quay.io/kubevirt only",
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = bindings.Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: namespace, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = bindings.Delete(context.Background(), namespace, metav1.DeleteOptions{})
		_ = policies.Delete(context.Background(), namespace, metav1.DeleteOptions{})
	})
	awaitRefusal(t, namespace)
}

// awaitRefusal waits until the API server has seen what refuses the sidecar: it has a cache of its own for each.
func awaitRefusal(t *testing.T, namespace string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := server.Create(context.Background(), ofNewVM(launcher(t, namespace, "masq")), dryRun())
		return err != nil
	}, 30*time.Second, 100*time.Millisecond)
}

// free takes away what refuses the sidecar in the namespace, and waits until the API server has seen that.
func free(t *testing.T, namespace string) {
	ctx, all := context.Background(), metav1.ListOptions{}
	core, registration := server.Client.CoreV1(), server.Client.AdmissionregistrationV1()
	_ = core.LimitRanges(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	_ = core.ResourceQuotas(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	_ = registration.ValidatingAdmissionPolicyBindings().Delete(ctx, namespace, metav1.DeleteOptions{})
	for range 300 {
		if _, err := server.Create(ctx, ofNewVM(launcher(t, namespace, "masq")), dryRun()); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the namespace still refuses the sidecar")
}

// laterWebhook adds an annotation to launcher pods after the product has seen them: its configuration's name comes later.
func laterWebhook(t *testing.T, takes time.Duration) {
	t.Helper()
	ours := newAuthority(t)
	leaf := &x509.Certificate{IPAddresses: []net.IP{net.ParseIP(machineAddress(t))}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	key := newKey(t)
	signed := sign(t, leaf, ours.certificate, key, ours.key, time.Now().Add(time.Hour))
	port := answering(t, tls.Certificate{Certificate: [][]byte{signed.Raw}, PrivateKey: key}, func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(takes)
		kind := admissionv1.PatchTypeJSONPatch
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, PatchType: &kind, Patch: []byte(`[{"op": "add", "path": "/metadata/annotations/later", "value": "yes"}]`)}
		review.Request = nil
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	})
	url := fmt.Sprintf("https://%s:%d", machineAddress(t), port)
	fail, none := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone
	configurations := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := configurations.Create(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "zz-later"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "later.example.com", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none,
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ours.bundle()},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: labelled()},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = configurations.Delete(context.Background(), "zz-later", metav1.DeleteOptions{}) })
	namespace := server.Namespace(t, "later", labelled())
	require.Eventually(t, func() bool {
		pod, err := server.Create(context.Background(), ofNewVM(launcher(t, namespace, "masq")), dryRun())
		return err == nil && pod.GetAnnotations()["later"] == "yes"
	}, 30*time.Second, 100*time.Millisecond)
}

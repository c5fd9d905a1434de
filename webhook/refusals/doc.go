// Package refusals notices when the API server refuses a VM's pod because the sidecar is in it, so that the VM starts
// without it. After the webhook, a LimitRange, a ResourceQuota, a ValidatingAdmissionPolicy or another webhook may
// refuse the pod (kubernetes pkg/kubeapiserver/options/plugins.go, AllOrderedPlugins). The webhook never hears of it.
// But KubeVirt creates the pod again, for the same VMI, until one is admitted.
//
// What KubeVirt does, read in its versions 1.6.0 and 1.9.0 (pkg/virt-controller/watch):
//
//   - vmi/lifecycle.go, sync: the first pod of a VMI is created while the VMI's phase is empty or Pending. Once the pod
//     exists the phase is Scheduling, and no other pod is created for this VMI but by a migration. So the same VMI uid
//     again means that the pod before was refused. There are two rare exceptions: the answer was lost on its way, or
//     somebody deleted the pod before virt-controller wrote the phase.
//   - vmi/vmi.go, Execute: after an error the VMI waits in a queue for 5 ms, doubling to 1000 s (client-go util/workqueue,
//     DefaultTypedControllerRateLimiter). All VMIs together are tried again at most 10 times a second, after a burst of 100.
//   - pkg/controller/conditions.go, CheckFailure: only the first of equal failures changes the VMI's status. That change
//     puts the VMI into the queue at once, and may set its back-off to 5 ms again: once, not each time.
//   - migration/migration.go, createTargetPod: the pod of a migration's target has the label kubevirt.io/migrationJobUID.
//     The queue of migrations backs off in the same way. An evacuation that is tried again is a new migration with a uid
//     of its own. A migration whose target pod has gone fails; it does not create another.
//   - vmi/volume-hotplug.go, services/template.go: attachment pods and temporary pods for volumes have other labels and
//     annotations. They are not injected, so nobody asks about them here.
//
// What the API server does (k8s.io/apiserver 0.36): it makes the name from generateName after the mutating webhooks and
// tries another name without asking them again (registry/generic/registry/store.go, createWithGenerateNameRetry). It may
// ask twice within one request when a later webhook has changed the pod (reinvocationPolicy); nothing in the second review
// says so. If the first answer was to inject, the pod has the sidecar then, and nobody asks here. If it was to leave the
// pod alone, the second answer must be the same.
package refusals

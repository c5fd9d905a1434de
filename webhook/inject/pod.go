package inject

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// Pod is the part of a pod that Decide reads. The field names are those of corev1.Pod, which
// is not used because anyone who reaches the webhook's port can send a pod: with corev1.Pod a
// few bytes of JSON become kilobytes of memory, and some quantities keep
// resource.ParseQuantity busy for minutes.
//
// A field that may be null in JSON is a pointer, a slice or a map, so that a null has the
// same effect here as in corev1.Pod.
type Pod struct {
	ObjectMeta `json:"metadata"`
	Spec       PodSpec `json:"spec"`
}

// ObjectMeta is the part of a pod's metadata that Decide reads.
type ObjectMeta struct {
	Name            string            `json:"name,omitempty"`
	GenerateName    string            `json:"generateName,omitempty"`
	Namespace       string            `json:"namespace,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	OwnerReferences []OwnerReference  `json:"ownerReferences,omitempty"`
}

// OwnerReference names an object that owns the pod; at most one is the controller.
type OwnerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
	Controller *bool  `json:"controller,omitempty"`
}

// PodSpec is the part of a pod's spec that Decide reads.
type PodSpec struct {
	Containers       []Container         `json:"containers,omitempty"`
	InitContainers   []Container         `json:"initContainers,omitempty"`
	Volumes          []NamedObject       `json:"volumes,omitempty"`
	ImagePullSecrets []NamedObject       `json:"imagePullSecrets,omitempty"`
	SecurityContext  *PodSecurityContext `json:"securityContext,omitempty"`
	HostNetwork      bool                `json:"hostNetwork,omitempty"`
	RuntimeClassName *string             `json:"runtimeClassName,omitempty"`
	NodeSelector     map[string]string   `json:"nodeSelector,omitempty"`
	Affinity         *Affinity           `json:"affinity,omitempty"`
	// Resources are those of the pod as a whole (KEP-2837); nil where there are none.
	Resources *Resources `json:"resources,omitempty"`
}

// Affinity is the part of a pod's affinity that can keep it off a node.
type Affinity struct {
	NodeAffinity *NodeAffinity `json:"nodeAffinity,omitempty"`
}

// NodeAffinity is what a node must be like; nil requires nothing.
type NodeAffinity struct {
	Required *NodeSelector `json:"requiredDuringSchedulingIgnoredDuringExecution,omitempty"`
}

// NodeSelector matches a node that one of its terms matches.
type NodeSelector struct {
	Terms []NodeSelectorTerm `json:"nodeSelectorTerms"`
}

// NodeSelectorTerm matches a node that meets all of its requirements; without any, it matches none.
type NodeSelectorTerm struct {
	MatchExpressions []NodeSelectorRequirement `json:"matchExpressions,omitempty"`
	// MatchFields are requirements on a node's fields (its name); only their number is read.
	MatchFields []struct{} `json:"matchFields,omitempty"`
}

// NodeSelectorRequirement compares one label of a node.
type NodeSelectorRequirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// NamedObject is a volume or a pull secret, of which only the name is read.
type NamedObject struct {
	Name string `json:"name,omitempty"`
}

// Container is the part of a container or an init container that Decide reads.
type Container struct {
	Name            string           `json:"name"`
	Ports           []ContainerPort  `json:"ports,omitempty"`
	Resources       Resources        `json:"resources"`
	RestartPolicy   *string          `json:"restartPolicy,omitempty"`
	VolumeMounts    []VolumeMount    `json:"volumeMounts,omitempty"`
	SecurityContext *SecurityContext `json:"securityContext,omitempty"`
}

func (c Container) name() string   { return c.Name }
func (o NamedObject) name() string { return o.Name }

// ContainerPort is a declared port; an empty Protocol is TCP.
type ContainerPort struct {
	ContainerPort int32  `json:"containerPort"`
	Protocol      string `json:"protocol,omitempty"`
}

// VolumeMount is a volume and where it is mounted.
type VolumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
}

// SecurityContext is the part of a container's security context that the sidecar takes over.
type SecurityContext struct {
	RunAsUser       *int64                  `json:"runAsUser,omitempty"`
	RunAsGroup      *int64                  `json:"runAsGroup,omitempty"`
	RunAsNonRoot    *bool                   `json:"runAsNonRoot,omitempty"`
	SELinuxOptions  *corev1.SELinuxOptions  `json:"seLinuxOptions,omitempty"`
	AppArmorProfile *corev1.AppArmorProfile `json:"appArmorProfile,omitempty"`
}

// PodSecurityContext is the part of the pod's that matters for the sidecar's. Of the seccomp
// profile, only whether there is one is read.
type PodSecurityContext struct {
	RunAsUser      *int64    `json:"runAsUser,omitempty"`
	RunAsGroup     *int64    `json:"runAsGroup,omitempty"`
	RunAsNonRoot   *bool     `json:"runAsNonRoot,omitempty"`
	SeccompProfile *struct{} `json:"seccompProfile,omitempty"`
}

// Resources are the requests and limits of a container or a pod; nil lists are empty.
type Resources struct {
	Requests *ResourceList `json:"requests,omitempty"`
	Limits   *ResourceList `json:"limits,omitempty"`
}

// ResourceList is the cpu and memory of a corev1.ResourceList.
type ResourceList struct {
	CPU    Quantity `json:"cpu"`
	Memory Quantity `json:"memory"`
}

// ParsePod reads a pod's JSON leniently and exactly as the API server does: names are
// case-sensitive and unknown fields are skipped. Both matter because a patch's paths refer
// to the JSON and not to our types.
//
// It allocates at most 400 bytes for each JSON value, and the text of the strings that
// Decide reads. The caller bounds both.
func ParsePod(podJSON []byte) (*Pod, error) {
	pod := &Pod{}
	err := kjson.UnmarshalCaseSensitivePreserveInts(podJSON, pod)
	if err == nil {
		err = pod.checkSecurity()
	}
	if err != nil {
		return nil, fmt.Errorf("parse pod: %w", err)
	}
	return pod, nil
}

// FromCore returns the Pod of a pod that a client has decoded already.
func FromCore(pod *corev1.Pod) *Pod {
	converted := &Pod{}
	// Neither can fail: the fields that Pod has are of the same types in corev1.Pod
	// (FuzzParsePod), which writes every quantity in its short form.
	podJSON, _ := json.Marshal(withoutUnread(pod))
	_ = kjson.UnmarshalCaseSensitivePreserveInts(podJSON, converted)
	return converted
}

// withoutUnread leaves out most of what Pod has not, which halves the time of the conversion.
func withoutUnread(pod *corev1.Pod) *corev1.Pod {
	short := &corev1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	short.ManagedFields = nil
	for _, containers := range []*[]corev1.Container{&short.Spec.Containers, &short.Spec.InitContainers} {
		*containers = slices.Clone(*containers)
		for i := range *containers {
			c := &(*containers)[i]
			c.Command, c.Args, c.Env, c.EnvFrom = nil, nil, nil, nil
			c.LivenessProbe, c.ReadinessProbe, c.StartupProbe, c.Lifecycle = nil, nil, nil, nil
		}
	}
	return short
}

// checkSecurity bounds the texts that the sidecar takes over from a container.
func (p *Pod) checkSecurity() error {
	const longestSELinux = 4096 // Linux: a security context is at most one page
	for i := range p.Spec.Containers {
		sc := p.Spec.Containers[i].SecurityContext
		if sc == nil {
			continue
		}
		if o := sc.SELinuxOptions; o != nil && len(o.User)+len(o.Role)+len(o.Type)+len(o.Level) > longestSELinux {
			return fmt.Errorf("seLinuxOptions of more than %d bytes", longestSELinux)
		}
		if a := sc.AppArmorProfile; a != nil &&
			(len(a.Type) > longestAppArmor || a.LocalhostProfile != nil && len(*a.LocalhostProfile) > longestAppArmor) {
			return fmt.Errorf("appArmorProfile of more than %d bytes", longestAppArmor)
		}
	}
	return nil
}

// isLauncher reports whether KubeVirt made the pod to run a VM.
func (p *Pod) isLauncher() bool { return p.Labels[labelKubeVirt] == launcherLabelValue }

// compute returns the container that runs the VM, or an empty one if the pod has none.
func (p *Pod) compute() *Container {
	for i := range p.Spec.Containers {
		if p.Spec.Containers[i].Name == computeContainer {
			return &p.Spec.Containers[i]
		}
	}
	return &Container{}
}

// anyContainer reports whether the condition is true of a container or an init container.
func (p *Pod) anyContainer(is func(*Container) bool) bool {
	for _, list := range [][]Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			if is(&list[i]) {
				return true
			}
		}
	}
	return false
}

// VM identifies the VM that a pod runs.
type VM struct {
	// Name and UID are those of the VMI in the controller reference.
	Name, UID string
	// Migration is the uid of the migration whose target the pod is; empty for a VM's first
	// pod (KubeVirt migration.go, createTargetPod).
	Migration string
}

// VM returns the VM that the pod runs. It is empty for a pod without a controller.
func (p *Pod) VM() VM {
	owner := p.controller()
	if owner == nil {
		return VM{}
	}
	return VM{Name: owner.Name, UID: owner.UID, Migration: p.Labels[labelMigration]}
}

// vmiName returns the name of the pod's VMI: that of the controller reference, which KubeVirt
// writes. The annotation kubevirt.io/domain does not count: the VM's owner can set it in the
// VM's template (KubeVirt template.go copies the VMI's annotations over its own).
//
// It returns false for a pod without such a reference. Webhooks get a pod before the API
// server validates it, so the name is checked here: it must be a DNS subdomain.
func (p *Pod) vmiName() (string, bool) {
	owner := p.controller()
	if owner == nil || owner.Kind != contract.VMIKind {
		return "", false
	}
	group, version, _ := strings.Cut(owner.APIVersion, "/")
	isVMI := group == groupKubeVirt && version != "" && !strings.Contains(version, "/")
	return owner.Name, isVMI && len(metavalidation.IsDNS1123Subdomain(owner.Name)) == 0
}

// controller returns the first controller reference, as Prometheus does, or nil. The API
// server rejects a pod with two.
func (p *Pod) controller() *OwnerReference {
	i := slices.IndexFunc(p.OwnerReferences, func(o OwnerReference) bool { return o.Controller != nil && *o.Controller })
	if i < 0 {
		return nil
	}
	return &p.OwnerReferences[i]
}

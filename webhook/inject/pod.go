package inject

import (
	corev1 "k8s.io/api/core/v1"
)

// Pod is what Decide reads of a pod, and nothing else. The field names are those of
// corev1.Pod. It exists because anyone who reaches the webhook's port can send a pod: with
// corev1.Pod a few bytes of JSON become kilobytes of memory, and some quantities keep
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
	// Of the requirements on a node's fields (its name), only how many there are.
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

// PodSecurityContext is the part of the pod's that matters to the sidecar's. Of the seccomp
// profile, only whether there is one.
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

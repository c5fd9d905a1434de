package inject

import corev1 "k8s.io/api/core/v1"

// What we read from and write to a pod. Operators and monitoring rely on these names:
// changing one is a breaking change.
const (
	// AnnotationInject opts a VM out when it is "false", as annotation or as label.
	AnnotationInject = "hypervisor-exporter.kubevirt.io/inject"
	// AnnotationStatus holds, on an injected pod, the version of the sidecar.
	AnnotationStatus = "hypervisor-exporter.kubevirt.io/status"
	// AnnotationCPU overrides the sidecar's CPU for one VM (request and limit).
	AnnotationCPU = "hypervisor-exporter.kubevirt.io/cpu"
	// AnnotationMemory overrides the sidecar's memory for one VM (request and limit).
	AnnotationMemory = "hypervisor-exporter.kubevirt.io/memory"
	// ContainerName is the name of the injected init container.
	ContainerName = "hypervisor-exporter"
	// PortName is the name of the sidecar's port, which the PodMonitor selects.
	PortName = "hv-metrics"
	// VolumeName is the sidecar's volume. With exposure Unix it holds the socket, which the
	// relay finds on the node by this name. With each exposure it is mounted where a token
	// would be.
	VolumeName = "hypervisor-exporter"
)

// What KubeVirt calls the parts of a virt-launcher pod
// (staging/src/kubevirt.io/api/core/v1/types.go, virt-controller template.go).
const (
	labelKubeVirt          = "kubevirt.io"
	launcherLabelValue     = "virt-launcher"
	groupKubeVirt          = "kubevirt.io"
	labelMigration         = "kubevirt.io/migrationJobUID"
	annotationProvisioning = "kubevirt.io/ephemeral-provisioning"
	annotationSafeVolumes  = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
	computeContainer       = "compute"
	annotationAppArmor     = corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + computeContainer
	libvirtVolume          = "libvirt-runtime"
	libvirtDirectory       = "/var/run/libvirt"
)

const (
	// tokenDirectory is where the API server mounts the ServiceAccount's token into every
	// container that mounts nothing there, compared as text (kubernetes
	// plugin/pkg/admission/serviceaccount, DefaultAPITokenMountPath).
	tokenDirectory = "/var/run/secrets/kubernetes.io/serviceaccount"
	// exposureDirectory and socketName are where the sidecar listens with exposure Unix. The
	// relay's path has socketName, too.
	exposureDirectory = "/var/run/hypervisor-exporter"
	socketName        = "metrics.sock"
)

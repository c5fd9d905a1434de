package inject

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metavalidation "k8s.io/apimachinery/pkg/util/validation"
)

// Config is what an operator may change without a rebuild. The zero value is
// not usable: start from Default and call Validate before the first Decide.
// It is never changed after that, so one Config may serve any number of
// goroutines.
type Config struct {
	// Image is the sidecar's image reference, with a tag or a digest.
	Image string
	// ImagePullPolicy of the sidecar; empty leaves it to the API server.
	ImagePullPolicy corev1.PullPolicy
	// PullSecrets names secrets one of which the image cannot be pulled without.
	// They are never added to a pod: a pod that has none of them already is left
	// as it is, since an image that cannot be pulled holds the whole VM.
	// Empty means that the image needs no secret.
	PullSecrets []string
	// Architectures that the image is built for, in the words of the node label kubernetes.io/arch. A pod that may
	// run on a node of another is left as it is.
	Architectures []string
	// Exposure is how the sidecar is scraped; the zero value is Unix.
	Exposure Exposure
	// Port is the TCP port the sidecar listens on with exposure Direct. With Unix it
	// is declared and not open: Prometheus finds pods by the ports that they declare.
	Port int32
	// CPU is the sidecar's CPU request, and its limit where the VM has one.
	CPU resource.Quantity
	// Memory is the sidecar's memory request and limit.
	Memory resource.Quantity
	// GoMemory is the sidecar's GOMEMLIMIT when it has Memory; a VM whose
	// annotation asks for another memory gets it in the same proportion.
	GoMemory resource.Quantity
	// GOGC is the sidecar's garbage collection target in percent.
	GOGC int
	// Version of the sidecar, written to AnnotationStatus. Empty means: the tag
	// of Image, or its digest where it has no tag.
	Version string
}

// Default is the configuration for an image with everything else as measured
// and documented: exposure Unix, 10m CPU and 24Mi of memory, port 9477.
func Default(image string) Config {
	return Config{
		Image:           image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Architectures:   kubeVirtArchitectures(),
		Port:            9477,
		CPU:             resource.MustParse("10m"),
		Memory:          resource.MustParse("24Mi"),
		GoMemory:        resource.MustParse("12Mi"),
		GOGC:            10,
	}
}

// reservedPorts inside a virt-launcher pod are not ours to take.
func reservedPorts() []int32 {
	return []int32{
		// KubeVirt pkg/virt-handler/migration-proxy: LibvirtDirectMigrationPort
		// and LibvirtBlockMigrationPort, for migrations without unix transport.
		49152, 49153,
		// Istio's proxy (istio.io, "Application requirements": ports used by Istio).
		15000, 15001, 15002, 15004, 15006, 15008, 15020, 15021, 15053, 15090,
		// Linkerd's proxy (linkerd.io, "Proxy configuration": outbound, inbound,
		// control, admin).
		4140, 4143, 4190, 4191,
	}
}

// Validate says, in one error for all of it, what would make a pod invalid or
// hold its VM, and how to mend it. Nil means that Decide may be called.
func (c Config) Validate() error {
	return errors.Join(
		c.validateImage(),
		c.validatePullPolicy(),
		c.validatePullSecrets(),
		c.validateArchitectures(),
		c.validateExposure(),
		c.validatePort(),
		validateBounds("cpu", c.CPU, cpuBounds),
		validateBounds("memory", c.Memory, memoryBounds),
		c.validateGo(),
	)
}

func (c Config) validateImage() error {
	if _, err := reference.ParseNormalizedNamed(c.Image); err != nil {
		return fmt.Errorf("sidecar image %q: %w: give a reference such as registry.example/hypervisor-exporter:v1.0.0", c.Image, err)
	}
	return nil
}

func (c Config) validatePullPolicy() error {
	switch c.ImagePullPolicy {
	case "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
		return nil
	default:
		return fmt.Errorf("image pull policy %q: want Always, IfNotPresent or Never", c.ImagePullPolicy)
	}
}

func (c Config) validatePullSecrets() error {
	for _, name := range c.PullSecrets {
		if problems := metavalidation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return fmt.Errorf("image pull secret %q: %s", name, strings.Join(problems, "; "))
		}
	}
	return nil
}

func (c Config) validateArchitectures() error {
	if len(c.Architectures) == 0 {
		return errors.New("architectures of the sidecar's image: want at least one, such as amd64")
	}
	for _, architecture := range c.Architectures {
		if !slices.Contains(knownArchitectures(), architecture) {
			return fmt.Errorf("architecture %q of the sidecar's image: want one that nodes have in kubernetes.io/arch: %s",
				architecture, strings.Join(knownArchitectures(), ", "))
		}
	}
	return nil
}

func (c Config) validateExposure() error {
	_, err := ParseExposure(c.Exposure.String())
	return err
}

func (c Config) validatePort() error {
	// The sidecar has no capabilities, so it cannot bind a privileged port.
	if c.Port < 1024 || c.Port > 65535 {
		return fmt.Errorf("port %d: want 1024 to 65535", c.Port)
	}
	if slices.Contains(reservedPorts(), c.Port) {
		return fmt.Errorf("port %d: used inside virt-launcher pods by KubeVirt, Istio or Linkerd, take another", c.Port)
	}
	return nil
}

func (c Config) validateGo() error {
	if c.GoMemory.Sign() <= 0 || c.GoMemory.Cmp(c.Memory) > 0 {
		return fmt.Errorf("go memory limit %s: want more than 0 and at most the memory, %s", c.GoMemory.String(), c.Memory.String())
	}
	if c.GOGC < 1 {
		return fmt.Errorf("GOGC %d: want 1 or more", c.GOGC)
	}
	return nil
}

// SidecarVersion is the version that injected pods are annotated with.
func (c Config) SidecarVersion() string {
	if c.Version != "" {
		return c.Version
	}
	named, err := reference.ParseNormalizedNamed(c.Image)
	if err != nil {
		return "unknown"
	}
	if tagged, ok := named.(reference.Tagged); ok {
		return tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		return digested.Digest().String()
	}
	return "latest"
}

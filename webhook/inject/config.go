package inject

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metavalidation "k8s.io/apimachinery/pkg/util/validation"
)

// Config is what an operator may configure. The zero value is not usable: start from Default
// and call Validate before the first Decide. After that it is never changed, so any number of
// goroutines may use it.
type Config struct {
	// Image is the sidecar's image reference, with a tag or a digest.
	Image string
	// ImagePullPolicy of the sidecar; empty leaves it to the API server.
	ImagePullPolicy corev1.PullPolicy
	// PullSecrets names secrets; the image cannot be pulled without one of them. They are never
	// added to a pod: a pod that names none of them is left as it is, since an image that cannot
	// be pulled holds up the whole VM. Empty means that the image needs no secret.
	PullSecrets []string
	// Architectures that the image is built for, as in the node label kubernetes.io/arch. A pod
	// that may run on a node of another is left as it is.
	Architectures []string
	// Exposure is how the sidecar is scraped; the zero value is Unix.
	Exposure Exposure
	// Port is the TCP port the sidecar listens on with exposure Direct. With Unix it is declared
	// and not open: Prometheus finds pods by the ports that they declare.
	Port int32
	// CPU is the sidecar's CPU request, and its limit if the VM has one.
	CPU resource.Quantity
	// Memory is the sidecar's memory request and limit.
	Memory resource.Quantity
	// GoMemory is the sidecar's GOMEMLIMIT when it has Memory; it changes in proportion if a VM's
	// annotation changes the memory.
	GoMemory resource.Quantity
	// GOGC is the sidecar's garbage collection target in percent.
	GOGC int
	// Version of the sidecar, written to AnnotationStatus. If empty, it is the tag of Image, or
	// its digest if there is no tag.
	Version string
}

// Default returns the measured and documented configuration for an image: exposure Unix, 10m
// CPU, 24Mi of memory, port 9477.
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

// AddFlags defines the webhook's flags for the configuration, whose values are the defaults.
func (c *Config) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.Image, "sidecar-image", c.Image, "image of the sidecar; required by serve")
	flags.StringVar((*string)(&c.ImagePullPolicy), "sidecar-image-pull-policy", string(c.ImagePullPolicy),
		"Always, IfNotPresent or Never; empty leaves it to the API server")
	flags.StringSliceVar(&c.PullSecrets, "sidecar-image-pull-secrets", c.PullSecrets,
		"pull secrets, one of which a pod must already name; other pods are left as they are")
	flags.StringSliceVar(&c.Architectures, "sidecar-architectures", c.Architectures,
		"architectures that the sidecar's image is built for, as in the node label kubernetes.io/arch; pods that may run on others are left as they are")
	flags.Var(&c.Exposure, "exposure", "how the sidecar is scraped: unix (a socket, through the node's relay) or direct (a TCP port of the pod)")
	flags.Int32Var(&c.Port, "sidecar-port", c.Port,
		"TCP port of the sidecar's metrics; with --exposure=unix it is declared, for Prometheus to find the pod, and not open")
	flags.Var((*quantityFlag)(&c.CPU), "sidecar-cpu", "CPU request and limit of the sidecar")
	flags.Var((*quantityFlag)(&c.Memory), "sidecar-memory", "memory request and limit of the sidecar")
	flags.Var((*quantityFlag)(&c.GoMemory), "sidecar-go-memory-limit", "GOMEMLIMIT of the sidecar at that memory")
	flags.IntVar(&c.GOGC, "sidecar-gogc", c.GOGC, "GOGC of the sidecar, in percent")
	flags.StringVar(&c.Version, "sidecar-version", c.Version, "version written to injected pods; empty takes the image's tag")
}

// quantityFlag is a quantity as a flag.
type quantityFlag resource.Quantity

func (q *quantityFlag) String() string { return (*resource.Quantity)(q).String() }
func (q *quantityFlag) Type() string   { return "quantity" }
func (q *quantityFlag) Set(value string) error {
	if !isBounded([]byte(value)) { // ParseQuantity would take minutes
		return fmt.Errorf("quantity %.24q: give one such as 10m or 24Mi", value)
	}
	parsed, err := resource.ParseQuantity(value)
	if err != nil {
		return fmt.Errorf("%w: give a quantity such as 10m or 24Mi", err)
	}
	*q = quantityFlag(parsed)
	return nil
}

// Exposure is the way in which a scrape reaches the sidecar. It is a flag's value, too.
type Exposure int

const (
	// Unix: the sidecar listens on a Unix socket in its own volume, and on no TCP port; the node's
	// relay forwards scrapes to it. It works with every network that a VM may have, and takes
	// nothing from it.
	Unix Exposure = iota
	// Direct: the sidecar listens on a TCP port of the pod's address.
	Direct
)

// String is the flag's value.
func (e Exposure) String() string {
	switch e {
	case Unix:
		return "unix"
	case Direct:
		return "direct"
	default:
		return fmt.Sprintf("exposure_%d", int(e))
	}
}

// Set reads the flag's value.
func (e *Exposure) Set(value string) error {
	for _, known := range []Exposure{Unix, Direct} {
		if value == known.String() {
			*e = known
			return nil
		}
	}
	return fmt.Errorf("exposure %q: want unix or direct", value)
}

// Type is what the flag's help calls the value.
func (*Exposure) Type() string { return "exposure" }

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

// Validate returns one error for everything that would make a pod invalid or hold up its VM, and
// says how to fix it. Nil means that Decide may be called.
func (c Config) Validate() error {
	return errors.Join(
		c.validateImage(),
		c.validateArchitectures(),
		new(Exposure).Set(c.Exposure.String()),
		c.validatePort(),
		cpuBounds.validate("cpu", c.CPU),
		memoryBounds.validate("memory", c.Memory),
		c.validateGo(),
	)
}

// UnsetImage is what the manifests name until a user sets an image (manifests/images): it can never be pulled, and no one
// else can own it.
const UnsetImage = "images-not-set.see-docs-install.invalid/kubevirt-hypervisor-exporter:v0.1.0"

// RefuseUnset returns an error if the image is UnsetImage, with any name or tag. A webhook that
// runs has an image of its own, so images were set somewhere, but not where the sidecar's
// reaches the webhook: each VM would wait for an image that cannot be pulled.
func (c Config) RefuseUnset() error {
	registry, _, _ := strings.Cut(UnsetImage, "/")
	if !strings.HasPrefix(c.Image, registry+"/") {
		return nil
	}
	return fmt.Errorf("--sidecar-image=%s: no image is set for the sidecar. If a kustomization around the manifests sets images, "+
		"add the manifests' folder settings/webhook to its transformers (docs/install.md, With kustomize)", c.Image)
}

func (c Config) validateImage() error {
	var errs []error
	if _, err := reference.ParseNormalizedNamed(c.Image); err != nil {
		errs = append(errs, fmt.Errorf("sidecar image %q: %w: give a reference such as registry.example/hypervisor-exporter:v1.0.0", c.Image, err))
	}
	switch c.ImagePullPolicy {
	case "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		errs = append(errs, fmt.Errorf("image pull policy %q: want Always, IfNotPresent or Never", c.ImagePullPolicy))
	}
	for _, name := range c.PullSecrets {
		if problems := metavalidation.IsDNS1123Subdomain(name); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("image pull secret %q: %s", name, strings.Join(problems, "; ")))
		}
	}
	return errors.Join(errs...)
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

func (c Config) validatePort() error {
	// The sidecar has no capabilities, so it cannot bind a privileged port.
	if c.Port < 1024 || c.Port > 65535 {
		return fmt.Errorf("port %d: want 1024 to 65535", c.Port)
	}
	if slices.Contains(reservedPorts(), c.Port) {
		return fmt.Errorf("port %d: used inside virt-launcher pods by KubeVirt, Istio or Linkerd; choose another", c.Port)
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

package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Exposure is the way by which a scrape reaches the sidecar.
type Exposure int

const (
	// Unix: the sidecar listens on a Unix socket in a volume of its own, and on no
	// TCP port; the node's relay carries scrapes to it. It works whatever the VM's
	// network is, and takes nothing of it.
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

// ParseExposure reads the flag's value.
func ParseExposure(value string) (Exposure, error) {
	for _, e := range []Exposure{Unix, Direct} {
		if value == e.String() {
			return e, nil
		}
	}
	return 0, fmt.Errorf("exposure %q: want unix or direct", value)
}

// listen is what the sidecar is told of where to listen.
func (e Exposure) listen(port int32) []string {
	if e == Direct {
		// The brackets are right for both families: an IPv6 address needs them, and
		// the sidecar takes them off before it reads the address. Never every
		// address: with masquerade the guest's gateway is one of them.
		return []string{fmt.Sprintf("--listen-address=[$(%s)]:%d", envPodIP, port), "--bind-to-device"}
	}
	return []string{"--listen-address=unix://" + exposureDirectory + "/" + socketName}
}

// place is where the sidecar listens, for people.
func (c Config) place() string {
	if c.Exposure == Direct {
		return fmt.Sprintf("port %d of the pod's address", c.Port)
	}
	return exposureDirectory + "/" + socketName
}

func (e Exposure) environment() []corev1.EnvVar {
	if e == Direct {
		return []corev1.EnvVar{fromField(envPodIP, "status.podIP")}
	}
	return nil
}

func (e Exposure) mounts() []corev1.VolumeMount {
	if e == Direct {
		return nil
	}
	return []corev1.VolumeMount{{Name: VolumeName, MountPath: exposureDirectory}}
}

package exposition

import (
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// identityLabels name the VM of a page. Prometheus takes them from the API server and
// drops those of the page.
var identityLabels = []string{"namespace", "name", "node"}

// buildInfo is client_golang's version collector, which NewHandler registers beside Metrics.
var buildInfo = Metric{
	Name:   "hypervisor_exporter_build_info",
	Labels: []string{"version", "revision", "branch", "goversion", "goos", "goarch", "tags"},
}

// A Shape is what a series of a genuine page looks like, beside the VM's identity.
type Shape struct {
	Metric string
	Labels []ShapeLabel // all of them are on each series; an empty value counts as none
}

// A ShapeLabel is a label and the values that it can have.
type ShapeLabel struct {
	Name string
	// Pattern is an RE2 expression that matches a whole value. It contains no quote, backslash,
	// semicolon or dollar sign, so that it can be written in any configuration as it is.
	Pattern string
}

// Shapes lists every series that the sidecar can serve by default, in the order of Metrics.
// Scrape configurations keep these and nothing else.
func Shapes() []Shape {
	var shapes []Shape
	for _, metric := range append(Metrics(), buildInfo) {
		shape := Shape{Metric: metric.Name}
		for _, label := range metric.Labels {
			if !slices.Contains(identityLabels, label) {
				shape.Labels = append(shape.Labels, ShapeLabel{Name: label, Pattern: labelPattern(label)})
			}
		}
		shapes = append(shapes, shape)
	}
	return shapes
}

// labelPattern returns the values of a label, which means the same on every metric.
func labelPattern(label string) string {
	if values, always := Values(label); values != nil {
		if always {
			return oneOf(values)
		}
		return oneOf(values) + "?"
	}
	switch label {
	case "hypervisor_version", "libvirt_version":
		return "([0-9]{1,6}[.][0-9]{1,3}[.][0-9]{1,3})?"
	case "machine", "cpu_model":
		return "[0-9A-Za-z._-]{0,64}"
	default: // of the build
		return "[0-9A-Za-z.,:/+_ -]{0,64}"
	}
}

// Values lists the values of a label that has a fixed list, nil of any other label. always means that each series has
// one of them; otherwise the label can be empty.
func Values(label string) (values []string, always bool) {
	states, reasons := hypervisor.StateWords()
	switch label {
	case "hypervisor_type":
		return HypervisorTypes(), true
	case "error":
		return errorReasons(), true
	case "state":
		return states, true
	case "reason":
		return reasons, true
	case "control_state":
		return controlStates(), true
	case "domain_type":
		return DomainTypes(), false
	case "arch", "host_arch":
		return architectures(), false
	case "hyperv":
		return hypervisor.HypervWords(), false
	case "launch_security":
		return hypervisor.LaunchSecurityWords(), false
	case "memory":
		return hypervisor.MemoryWords(), false
	case "disks":
		return hypervisor.DiskWords(), false
	case "nics":
		return hypervisor.NICWords(), false
	default:
		return nil, false
	}
}

// HypervisorTypes lists the values of the label hypervisor_type.
func HypervisorTypes() []string {
	return []string{hypervisor.KVM.String(), hypervisor.QEMUTCG.String(), hypervisor.Unknown.String()}
}

// controlStates lists the values of the label control_state.
func controlStates() []string {
	var all []string
	for state := range hypervisor.ControlStates {
		all = append(all, state.String())
	}
	return all
}

// errorReasons lists the values of the label error.
func errorReasons() []string {
	var all []string
	for reason := range hypervisor.ErrorReasons {
		all = append(all, reason.String())
	}
	return all
}

// DomainTypes lists the values of the label domain_type that Prometheus keeps: those of
// libvirt's schema (domaincommon.rng, hvs). KubeVirt writes kvm, qemu and hyperv.
func DomainTypes() []string {
	return []string{
		"kvm", "qemu", "hyperv", "bhyve", "hvf", "kqemu", "lxc", "nvmm", "openvz", "phyp", "test", "uml", "vbox", "vmware", "vz", "xen",
	}
}

// architectures lists the values of the label arch that Prometheus keeps: those of
// libvirt's virArch (virarch.c) that KubeVirt, or a fork of it, could run on.
func architectures() []string {
	return []string{
		"x86_64", "aarch64", "s390x", "ppc64le", "riscv64", "i686", "armv7l", "loongarch64", "ppc64",
	}
}

// oneOf is the expression that matches these values and no other. None has a character that
// means something in an expression.
func oneOf(values []string) string { return "(" + strings.Join(values, "|") + ")" }

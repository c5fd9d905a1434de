package hypervisor

import (
	"encoding/xml"
	"slices"

	"libvirt.org/go/libvirtxml"
)

// maxModelLength bounds a CPU model's name, in bytes. The longest of libvirt 9.0 (src/cpu_map) has 25.
const maxModelLength = 64

// Facts are what a domain's XML says about the VM's speed. Each is one of a closed list of words, but the CPU model,
// which is a name of bounded length; empty where the XML does not say.
type Facts struct {
	// CPUModel is libvirt's name of the CPU that the guest sees, or the mode where that names none: host-passthrough,
	// maximum, host-model. libvirt replaces host-model by the model that it chose when the domain starts.
	CPUModel string
	// Hyperv is which of the enlightenments for Windows are on: one of HypervWords.
	Hyperv string
	// LaunchSecurity is the guest's confidential computing: none or one of libvirt's types.
	LaunchSecurity string
	// Memory is what backs the guest's memory: normal, or hugepages with the size of their largest page.
	Memory string
	// Disks and NICs are the slowest kind among them: emulated hardware, virtio, or (NICs only) passthrough. Drives for
	// removable media do not count.
	Disks string
	NICs  string
}

// The words of Facts.
const (
	none        = "none"
	partial     = "partial"
	full        = "full"
	passthrough = "passthrough"
	normal      = "normal"
	emulated    = "emulated"
	virtio      = "virtio"
	other       = "other"
)

// HypervWords lists the values of Facts.Hyperv.
func HypervWords() []string { return []string{none, partial, full, passthrough} }

// LaunchSecurityWords lists the values of Facts.LaunchSecurity: libvirt's types (domaincommon.rng, launchSecurity).
func LaunchSecurityWords() []string {
	return []string{none, "sev", "sev-snp", "tdx", "s390-pv", other}
}

// MemoryWords lists the values of Facts.Memory.
func MemoryWords() []string {
	words := []string{normal, "hugepages"}
	for _, page := range pageSizes {
		words = append(words, page.word)
	}
	return words
}

// DiskWords lists the values of Facts.Disks.
func DiskWords() []string { return []string{emulated, virtio} }

// NICWords lists the values of Facts.NICs, slowest first.
func NICWords() []string { return []string{emulated, virtio, passthrough} }

// enlightenments are those that KubeVirt's preferences for Windows switch on (kubevirt/common-instancetypes,
// preferences/components/hyperv). evmcs is not among them: it is only of use to a guest that runs VMs itself.
var enlightenments = []string{
	"relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic", "stimer", "reset", "frequencies", "reenlightenment", "tlbflush", "ipi",
}

// pageSizes are the sizes of huge pages on amd64, arm64 and s390x, largest first, in KiB.
var pageSizes = []struct {
	kib  string
	word string
}{
	{"16777216", "hugepages-16Gi"}, {"2097152", "hugepages-2Gi"}, {"1048576", "hugepages-1Gi"}, {"524288", "hugepages-512Mi"},
	{"32768", "hugepages-32Mi"}, {"2048", "hugepages-2Mi"}, {"1024", "hugepages-1Mi"}, {"64", "hugepages-64Ki"},
}

// emptyFacts is what holds for a domain whose XML has none of the elements.
func emptyFacts() Facts { return Facts{Hyperv: none, LaunchSecurity: none, Memory: normal} }

// read takes a child of <domain>, and reports whether it was one of interest.
func (f *Facts) read(s *scanner, element xml.StartElement) (bool, error) {
	switch element.Name.Local {
	case "cpu":
		return true, f.readCPU(s, element)
	case "memoryBacking":
		return true, f.readMemory(s)
	case "features":
		return true, f.readFeatures(s)
	case "devices":
		return true, f.readDevices(s)
	case "launchSecurity":
		if f.LaunchSecurity = attribute(element, "type"); !slices.Contains(LaunchSecurityWords(), f.LaunchSecurity) {
			f.LaunchSecurity = other
		}
		return true, s.skip()
	default:
		return false, nil
	}
}

func (f *Facts) readCPU(s *scanner, cpu xml.StartElement) error {
	mode := attribute(cpu, "mode")
	if mode != "custom" {
		f.CPUModel = modelName(mode)
	}
	return s.each(func(child xml.StartElement) error {
		if child.Name.Local != "model" {
			return s.skip()
		}
		var model libvirtxml.DomainCPUModel
		err := s.decode(child, &model)
		if name := modelName(model.Value); name != "" && (mode == "custom" || mode == "") {
			f.CPUModel = name
		}
		return err
	})
}

// modelName returns the name if it is fit for a label, empty if not.
func modelName(name string) string {
	if len(name) > maxModelLength {
		return ""
	}
	for _, c := range []byte(name) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '.', c == '_', c == '-':
		default:
			return ""
		}
	}
	return name
}

func (f *Facts) readMemory(s *scanner) error {
	return s.each(func(child xml.StartElement) error {
		if child.Name.Local != "hugepages" {
			return s.skip()
		}
		largest := len(pageSizes)
		err := s.each(func(page xml.StartElement) error {
			unit := attribute(page, "unit") // libvirt writes sizes in KiB, whatever it was given
			i := slices.IndexFunc(pageSizes, func(p struct{ kib, word string }) bool { return p.kib == attribute(page, "size") })
			if i >= 0 && (unit == "KiB" || unit == "") {
				largest = min(largest, i)
			}
			return s.skip()
		})
		f.Memory = "hugepages"
		if largest < len(pageSizes) {
			f.Memory = pageSizes[largest].word
		}
		return err
	})
}

func (f *Facts) readFeatures(s *scanner) error {
	return s.each(func(feature xml.StartElement) error {
		if feature.Name.Local != "hyperv" {
			return s.skip()
		}
		on := map[string]bool{}
		err := s.each(func(child xml.StartElement) error {
			if attribute(child, "state") == "on" && slices.Contains(enlightenments, child.Name.Local) {
				on[child.Name.Local] = true
			}
			return s.skip()
		})
		switch {
		case attribute(feature, "mode") == passthrough:
			f.Hyperv = passthrough
		case len(on) == len(enlightenments):
			f.Hyperv = full
		case len(on) > 0:
			f.Hyperv = partial
		}
		return err
	})
}

func (f *Facts) readDevices(s *scanner) error {
	scsi, virtioSCSI := false, true
	err := s.each(func(device xml.StartElement) error {
		switch device.Name.Local {
		case "disk":
			bus, err := s.childAttribute("target", "bus")
			if kind := attribute(device, "device"); kind == "cdrom" || kind == "floppy" {
				return err
			}
			switch bus {
			case virtio:
				f.Disks = slower(DiskWords(), f.Disks, virtio)
			case "scsi":
				scsi = true
			default:
				f.Disks = slower(DiskWords(), f.Disks, emulated)
			}
			return err
		case "controller":
			if attribute(device, "type") == "scsi" {
				virtioSCSI = virtioSCSI && isVirtio(attribute(device, "model"))
			}
			return s.skip()
		case "interface":
			model, err := s.childAttribute("model", "type")
			f.NICs = slower(NICWords(), f.NICs, nic(attribute(device, "type"), model))
			return err
		default:
			return s.skip()
		}
	})
	switch {
	case scsi && virtioSCSI:
		f.Disks = slower(DiskWords(), f.Disks, virtio)
	case scsi:
		f.Disks = slower(DiskWords(), f.Disks, emulated)
	}
	return err
}

// nic returns the kind of an interface. libvirt writes a model for each that QEMU emulates.
func nic(kind, model string) string {
	switch {
	case kind == "hostdev" || kind == "vdpa":
		return passthrough
	case isVirtio(model):
		return virtio
	default:
		return emulated
	}
}

// isVirtio knows libvirt's names: virtio, virtio-net, virtio-scsi, virtio-transitional, virtio-non-transitional.
func isVirtio(model string) bool {
	switch model {
	case "virtio", "virtio-net", "virtio-scsi", "virtio-transitional", "virtio-non-transitional":
		return true
	default:
		return false
	}
}

// slower returns the one that comes first in the words; empty counts as last.
func slower(words []string, a, b string) string {
	i, j := slices.Index(words, a), slices.Index(words, b)
	if i < 0 || j >= 0 && j < i {
		return b
	}
	return a
}

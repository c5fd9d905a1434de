package hypervisor

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"libvirt.org/go/libvirtxml"
)

// kubevirtXMLNamespace marks the metadata that KubeVirt puts into its domains
// (virt-launcher/virtwrap/api, schema.go).
const kubevirtXMLNamespace = "http://kubevirt.io"

// maxNameLength bounds the domain type, arch and machine, in bytes: they become
// label values. libvirt's and QEMU's own names stay below 40.
const maxNameLength = 128

// The reasons why a domain's XML does not yield its type.
var (
	ErrXML      = errors.New("domain XML cannot be parsed")
	ErrNoType   = errors.New("domain XML names no domain type")
	ErrTooLarge = errors.New("domain XML is too large to be read in the sidecar's memory")
	ErrNoAnswer = errors.New("libvirt has not answered the question for the domain's XML")
)

// Type is what executes the guest's instructions, and the label hypervisor_type
// of kubevirt_vmi_hypervisor_info: a closed set.
type Type int

const (
	// Unknown is a domain type outside the closed set, XML without a type,
	// or a libvirt that has not been heard for longer than the grace period.
	Unknown Type = iota
	// KVM is hardware virtualisation by the kernel's KVM.
	KVM
	// QEMUTCG is software emulation by QEMU's Tiny Code Generator.
	QEMUTCG
)

// String returns the value of the label hypervisor_type.
func (t Type) String() string {
	switch t {
	case KVM:
		return "kvm"
	case QEMUTCG:
		return "qemu-tcg"
	case Unknown:
		return "unknown"
	default:
		return "unknown"
	}
}

// typeOf maps libvirt's domain types (virDomainVirtType) that KubeVirt can write.
func typeOf(domainType string) Type {
	switch domainType {
	case "kvm":
		return KVM
	case "qemu":
		return QEMUTCG
	default:
		return Unknown
	}
}

// Detection is what a domain's XML shows of its hypervisor. DomainType is raw
// (kvm, qemu, hyperv, …); Arch and Machine are empty where the XML has none.
type Detection struct {
	Type       Type
	DomainType string
	Arch       string
	Machine    string
	// KubeVirt is true if the domain carries KubeVirt's metadata.
	KubeVirt bool
	// Facts are all empty if the XML could not be read to its end.
	Facts Facts
}

// Description is one answer to the question for a domain's XML. It is never written
// again, so equal pointers mean the same answer.
type Description struct {
	Detection Detection
	// Err is why Detection is empty: it wraps ErrXML, ErrNoType, ErrTooLarge or
	// ErrNoAnswer, or is nil.
	Err error
}

// Describe reads a domain's XML. Err is ErrXML, ErrNoType or ErrTooLarge where the
// XML does not name the type: what is wrong behind the type, <os> and <metadata> costs
// the Facts alone. It never panics, whatever the XML. It keeps no more
// than one token of the XML in memory: libvirt sends up to 4 MiB, and the container
// is killed at 24. libvirtxml.Domain would need 22 MiB for 256 KiB of <disk/>.
func Describe(r io.Reader) *Description {
	detection, err := detect(r)
	return &Description{Detection: detection, Err: err}
}

func detect(r io.Reader) (detection Detection, err error) {
	// The XML comes from the other side of a socket: a bug in the decoder must not
	// end the sidecar.
	defer func() {
		if p := recover(); p != nil {
			detection, err = Detection{}, fmt.Errorf("%w: %v", ErrXML, p)
		}
	}()
	detection, err = readDomain(newScanner(r))
	switch {
	case errors.Is(err, ErrTooLarge):
		return Detection{}, err
	case err != nil:
		return Detection{}, fmt.Errorf("%w: %w", ErrXML, err)
	case detection.DomainType == "":
		return Detection{}, ErrNoType
	}
	if longest := max(len(detection.DomainType), len(detection.Arch), len(detection.Machine)); longest > maxNameLength {
		return Detection{}, fmt.Errorf("%w: a type, arch or machine of %d bytes", ErrXML, longest)
	}
	return detection, nil
}

func readDomain(s *scanner) (detection Detection, err error) {
	domain, err := s.root()
	if err != nil {
		return Detection{}, err
	}
	if domain.Name.Local != "domain" {
		return Detection{}, fmt.Errorf("element <%s> where <domain> is due", domain.Name.Local)
	}
	detection.DomainType = attribute(domain, "type")
	detection.Type = typeOf(detection.DomainType)
	sawOS, sawMetadata := false, false
	detection.Facts = emptyFacts()
	err = s.each(func(child xml.StartElement) error {
		switch child.Name.Local {
		case "os":
			sawOS = true
			return s.each(func(element xml.StartElement) error {
				if element.Name.Local != "type" {
					return s.skip()
				}
				var machine libvirtxml.DomainOSType
				err := s.decode(element, &machine)
				detection.Arch, detection.Machine = machine.Arch, machine.Machine
				return err
			})
		case "metadata":
			sawMetadata = true
			return s.each(func(element xml.StartElement) error {
				detection.KubeVirt = detection.KubeVirt || element.Name.Space == kubevirtXMLNamespace
				return s.skip()
			})
		}
		known, err := detection.Facts.read(s, child)
		if !known {
			err = s.skip()
		}
		return err
	})
	if err != nil && sawOS && sawMetadata {
		detection.Facts, err = Facts{}, nil
	}
	if detection.Arch == "s390x" && detection.Facts.LaunchSecurity == none {
		detection.Facts.LaunchSecurity = "" // KubeVirt sets iommu on the devices in place of s390-pv (compute/launch_security.go)
	}
	return detection, err
}

// attribute returns the value of an element's attribute, empty if it has none.
func attribute(element xml.StartElement, name string) string {
	for _, a := range element.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

package hypervisor

// DomainID identifies one run of a domain. libvirt gives a domain a new number each
// time it starts; one that does not run has the number -1.
type DomainID struct {
	UUID   [16]byte
	Number int32
}

// Domain is one domain as libvirt described it at one moment.
type Domain struct {
	Name  string
	ID    DomainID
	State State
	// Description is the newest answer to the question for the domain's XML. It is
	// nil while libvirt has not answered yet: a domain of which nothing is known is
	// not shown.
	Description *Description
}

// Observation is one read of libvirt: every domain behind the socket. A domain that
// vanished during the read is not in it.
type Observation struct {
	Domains []Domain
}

// Versions are those of the hypervisor and of libvirt, as "7.2.19"; empty where
// libvirt could not say, or has not yet.
type Versions struct {
	Hypervisor string
	Libvirt    string
}

// Match is how the VMI's domain was recognised among those behind the socket.
type Match int

const (
	// NoDomain: libvirt has no domain, or has not described those that it has.
	NoDomain Match = iota
	// Named: the domain has the name that KubeVirt gives the VMI's domain.
	Named
	// ByMetadata: no domain has that name, but just one is KubeVirt's.
	ByMetadata
	// Foreign: there are domains, and none of them is KubeVirt's.
	Foreign
	// Ambiguous: several are KubeVirt's, and none has the name.
	Ambiguous
)

// String names the match for logs.
func (m Match) String() string {
	switch m {
	case NoDomain:
		return "no domain"
	case Named:
		return "by name"
	case ByMetadata:
		return "by KubeVirt metadata"
	case Foreign:
		return "no domain of KubeVirt"
	case Ambiguous:
		return "several domains of KubeVirt"
	default:
		return "invalid"
	}
}

// choose picks the VMI's domain. There is one domain in a virt-launcher pod; if
// there are more, a series is worth less than the risk of naming the wrong VM.
func choose(id Identity, domains []Domain) (Domain, Match) {
	for _, domain := range domains {
		if domain.Name == id.DomainName() {
			return domain, Named
		}
	}
	var ours []Domain
	for _, domain := range domains {
		if domain.Description == nil {
			return Domain{}, NoDomain // it may be KubeVirt's
		}
		if domain.Description.Detection.KubeVirt {
			ours = append(ours, domain)
		}
	}
	switch {
	case len(ours) == 1:
		return ours[0], ByMetadata
	case len(ours) > 1:
		return Domain{}, Ambiguous
	case len(domains) > 0:
		return Domain{}, Foreign
	default:
		return Domain{}, NoDomain
	}
}

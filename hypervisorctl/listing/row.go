// Package listing is the command list: one row a VMI, from KubeVirt's objects to a table.
package listing

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/hypervisorctl/source"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// The kind of the list that json and yaml print. It is no resource of the cluster.
const (
	APIVersion = "hypervisorctl.hypervisor-exporter.kubevirt.io/v1"
	Kind       = "HypervisorList"
)

// notFoundOut is the reason where the sidecar runs and no source knew the type; ReasonText says why.
const notFoundOut = "not_found_out"

// List is what -o json and -o yaml print. Fields may be added; none changes its meaning.
type List struct {
	metav1.TypeMeta `json:",inline"`
	Items           []Row `json:"items"`
}

// Row is one VMI. What is not known is left out: an empty Type is never to be read as one.
type Row struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Phase     string `json:"phase,omitempty"`
	Node      string `json:"node,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// Type is kvm, qemu-tcg or unknown, as the sidecar says.
	Type string `json:"type,omitempty"`
	// Source is who said so: prometheus, relay or exec.
	Source            string `json:"source,omitempty"`
	DomainType        string `json:"domainType,omitempty"`
	Architecture      string `json:"architecture,omitempty"`
	Machine           string `json:"machine,omitempty"`
	HypervisorVersion string `json:"hypervisorVersion,omitempty"`
	LibvirtVersion    string `json:"libvirtVersion,omitempty"`
	// Sidecar is absent, starting, running, failing or ended; SidecarDetail the kubelet's word for it.
	Sidecar         string `json:"sidecar"`
	SidecarDetail   string `json:"sidecarDetail,omitempty"`
	SidecarVersion  string `json:"sidecarVersion,omitempty"`
	SidecarRestarts int32  `json:"sidecarRestarts,omitempty"`
	// Reason is why there is no type: one of a fixed set, in snake case. ReasonText says it for people.
	Reason     string       `json:"reason,omitempty"`
	ReasonText string       `json:"reasonText,omitempty"`
	Created    *metav1.Time `json:"created,omitempty"`
}

// NewList makes a list of rows, ordered by namespace and name.
func NewList(rows []Row) *List {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if rows == nil {
		rows = []Row{} // an empty list in JSON, not null
	}
	return &List{TypeMeta: metav1.TypeMeta{APIVersion: APIVersion, Kind: Kind}, Items: rows}
}

// DeepCopyObject implements runtime.Object, for the printers of cli-runtime.
func (l *List) DeepCopyObject() runtime.Object {
	return &List{TypeMeta: l.TypeMeta, Items: slices.Clone(l.Items)} // a row's time is never changed
}

// newRow is a row without a type.
func newRow(vmi vm.VMI, launcher *vm.Launcher) Row {
	row := Row{
		Namespace: vmi.Namespace, Name: vmi.Name, Phase: vmi.Phase, Node: vmi.Node,
		Machine: vmi.Machine, Sidecar: vm.Absent.String(), Created: timeOf(vmi.Created),
	}
	if launcher != nil {
		row.Pod = launcher.Name
		row.Sidecar = launcher.Sidecar.State.String()
		row.SidecarDetail = launcher.Sidecar.Detail
		row.SidecarVersion = launcher.Sidecar.Version
		row.SidecarRestarts = launcher.Sidecar.Restarts
	}
	return row
}

func (r *Row) found(finding source.Finding, by string) {
	r.Type, r.Source = finding.Type, by
	r.DomainType, r.Architecture = finding.DomainType, finding.Arch
	r.HypervisorVersion, r.LibvirtVersion = finding.HypervisorVersion, finding.LibvirtVersion
	if finding.Machine != "" {
		r.Machine = finding.Machine
	}
}

func (r *Row) missing(cause vm.Cause) { r.Reason, r.ReasonText = cause.Short(), cause.Sentence() }

func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}

package libvirttest

import (
	"fmt"

	"github.com/digitalocean/go-libvirt"
)

// State is a domain's state and its reason; what a reason means depends on the state
// (libvirt-domain.h, virDomainState). Gone is true if libvirt knows no such domain.
type State struct {
	State  libvirt.DomainState
	Reason int32
	Gone   bool
}

// String is as virsh domstate --reason puts it, with libvirt's own enum names:
// "paused(post-copy failed)". A domain that is not there is "none".
func (s State) String() string {
	if s.Gone {
		return "none"
	}
	return named(stateNames, int32(s.State), s.Reason)
}

// Event is a lifecycle event (virDomainEventType) with its detail.
type Event struct {
	Type   libvirt.DomainEventType
	Detail int32
}

// String is as virsh event puts it, with libvirt's own enum names: "stopped(shutdown)".
func (e Event) String() string { return named(eventNames, int32(e.Type), e.Detail) }

// names are one enum value with its sub-values, in libvirt's order.
type names struct {
	name    string
	details []string
}

var stateNames = []names{
	{"nostate", []string{"unknown"}},
	{"running", []string{"unknown", "booted", "migrated", "restored", "from snapshot", "unpaused", "migration canceled",
		"save canceled", "wakeup", "crashed", "post-copy", "post-copy failed"}},
	{"blocked", []string{"unknown"}},
	{"paused", []string{"unknown", "user", "migration", "save", "dump", "io error", "watchdog", "from snapshot",
		"shutting down", "snapshot", "crashed", "starting up", "post-copy", "post-copy failed", "api error"}},
	{"shutdown", []string{"unknown", "user"}},
	{"shutoff", []string{"unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot", "daemon"}},
	{"crashed", []string{"unknown", "panicked"}},
	{"pmsuspended", []string{"unknown"}},
}

var eventNames = []names{
	{"defined", []string{"added", "updated", "renamed", "from snapshot"}},
	{"undefined", []string{"removed", "renamed"}},
	{"started", []string{"booted", "migrated", "restored", "from snapshot", "wakeup", "recreated"}},
	{"suspended", []string{"paused", "migrated", "io error", "watchdog", "restored", "from snapshot", "api error",
		"post-copy", "post-copy failed"}},
	{"resumed", []string{"unpaused", "migrated", "from snapshot", "post-copy", "post-copy failed"}},
	{"stopped", []string{"shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot", "recreated"}},
	{"shutdown", []string{"finished", "guest", "host"}},
	{"pmsuspended", []string{"memory", "disk"}},
	{"crashed", []string{"panicked", "crashloaded"}},
}

func named(table []names, value, detail int32) string {
	if value < 0 || int(value) >= len(table) {
		return fmt.Sprintf("%d(%d)", value, detail)
	}
	n := table[value]
	if detail < 0 || int(detail) >= len(n.details) {
		return fmt.Sprintf("%s(%d)", n.name, detail)
	}
	return n.name + "(" + n.details[detail] + ")"
}

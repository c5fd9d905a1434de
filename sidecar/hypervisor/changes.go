package hypervisor

import "log/slog"

// Change is one line for the log: something became other than it was.
type Change struct {
	Level   slog.Level
	Message string
	Attrs   []slog.Attr
}

// Changes returns the log lines for the step from one snapshot to the next; expired means
// that the grace period has ended in between. Without a change there is no line, so that a
// fault that lasts is one line however often it is met.
func Changes(before, after Snapshot, expired bool) []Change {
	var changes []Change
	add := func(level slog.Level, message string, attrs ...slog.Attr) {
		changes = append(changes, Change{Level: level, Message: message, Attrs: attrs})
	}
	switch {
	case after.Connected && !before.Connected:
		add(slog.LevelInfo, "connected to libvirt")
	case !after.Connected && (before.Connected || text(after.LostErr) != text(before.LostErr)):
		add(slog.LevelWarn, "libvirt does not answer; trying again", slog.Any("err", after.LostErr))
	}
	if expired && after.Running {
		add(slog.LevelWarn, "libvirt has not answered for the grace period; the hypervisor type is unknown", slog.Duration("grace", after.Grace))
	}
	if after.Match != before.Match {
		changes = append(changes, matchChange(after)...)
	}
	if after.Running != before.Running || after.Detection != before.Detection || text(after.DetectErr) != text(before.DetectErr) {
		changes = append(changes, domainChange(after))
	}
	return changes
}

func matchChange(s Snapshot) []Change {
	attrs := []slog.Attr{slog.String("want", s.Identity.DomainName()), slog.String("match", s.Match.String())}
	switch s.Match {
	case ByMetadata:
		return []Change{{slog.LevelWarn, "no domain has the VMI's name; taking the only one with KubeVirt metadata", append(attrs, slog.String("domain", s.Domain))}}
	case Foreign, Ambiguous:
		return []Change{{slog.LevelWarn, "no domain is surely the VMI's; showing none", attrs}}
	case NoDomain, Named:
		return nil
	default:
		return nil
	}
}

func domainChange(s Snapshot) Change {
	attrs := []slog.Attr{
		slog.String("domain", s.Domain), slog.Int("state", int(s.State.State)), slog.Int("reason", int(s.State.Reason)),
	}
	if !s.Running {
		return Change{slog.LevelInfo, "domain does not run here", attrs}
	}
	attrs = append(attrs, slog.String("hypervisor_type", s.Detection.Type.String()))
	switch {
	case s.DetectErr != nil:
		return Change{slog.LevelError, "domain runs, but its XML does not name the hypervisor", append(attrs, slog.Any("err", s.DetectErr))}
	case s.Detection.Type == Unknown:
		return Change{slog.LevelWarn, "domain runs on a hypervisor that is neither kvm nor qemu", append(attrs, slog.String("domain_type", s.Detection.DomainType))}
	default:
		return Change{slog.LevelInfo, "domain runs", attrs}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

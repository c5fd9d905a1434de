package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/room"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// limits checks whether LimitRanges and ResourceQuotas of enabled namespaces leave room for the sidecar.
func (r *run) limits() {
	const s = injectionSection
	ranges, quotas := map[string][]corev1.LimitRange{}, map[string]string{}
	matters := func(namespace string) bool { return r.namespaces != nil && r.namespaces.injected(namespace) }
	err := r.reader.EachLimitRange(r.ctx, r.request.Namespace, func(one *corev1.LimitRange) {
		if matters(one.Namespace) {
			ranges[one.Namespace] = append(ranges[one.Namespace], *one)
		}
	})
	if err != nil {
		r.add(s.unread("LimitRanges", err))
	}
	err = r.reader.EachQuota(r.ctx, r.request.Namespace, func(one *corev1.ResourceQuota) {
		if lacking := room.Lacking(r.config, one); lacking != "" && matters(one.Namespace) {
			quotas[one.Namespace+"/"+one.Name] = lacking
		}
	})
	if err != nil {
		r.add(s.unread("ResourceQuotas", err))
	}
	launcher, err := cluster.Launcher("")
	if err != nil {
		r.add(s.unread("LimitRanges", err))
		return
	}
	r.add(limitLines(r.config, ranges, room.Samples(launcher), r.byPolicy)...)
	r.add(quotaLines(quotas, r.byPolicy)...)
}

// limitLines has a line for each rule that refuses VMs because of the sidecar. Behind a webhook they start without it,
// after some tries; the policy cannot do that.
func limitLines(cfg inject.Config, byNamespace map[string][]corev1.LimitRange, pods []*corev1.Pod, byPolicy bool) []Line {
	const s = injectionSection
	type trouble struct{ text, hint string }
	found := map[trouble][]string{}
	for namespace, ranges := range byNamespace {
		refused, err := room.Refused(cfg, ranges, pods, nil)
		if err != nil {
			return []Line{s.unread("LimitRanges of the namespace "+namespace, err)}
		}
		if len(refused) == 0 {
			continue
		}
		key := trouble{refused[0].Text, cureHint(room.Cure(cfg, ranges, pods))}
		found[key] = append(found[key], namespace+"/"+refused[0].Range)
	}
	keys := slices.SortedFunc(maps.Keys(found), func(a, b trouble) int { return cmp.Or(cmp.Compare(a.text, b.text), cmp.Compare(a.hint, b.hint)) })
	var lines []Line
	for _, key := range keys {
		line := s.warn(key.hint, "LimitRanges refuse VMs with the sidecar; they start without it: %s", key.text)
		if byPolicy {
			line = s.fail(key.hint, "LimitRanges refuse VMs with the sidecar; they do not start: %s", key.text)
		}
		line.Objects = sorted(found[key])
		lines = append(lines, line)
	}
	return lines
}

// cureHint says what to set in the VMs' templates.
func cureHint(annotations map[string]string) string {
	if annotations == nil {
		return "change the LimitRange, or opt the VMs out: spec.template.metadata.annotations " + inject.AnnotationInject + `: "false"`
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		words = append(words, key+": "+annotations[key])
	}
	return "change the LimitRange, or set in the VMs' spec.template.metadata.annotations: " + strings.Join(words, ", ")
}

// quotaLines has the quotas in which a VM that just fits does not fit with the sidecar.
func quotaLines(lacking map[string]string, byPolicy bool) []Line {
	if len(lacking) == 0 {
		return nil
	}
	then := "a VM that just fits starts without it"
	if byPolicy {
		then = "a VM that just fits does not start"
	}
	line := injectionSection.warn("raise the quotas", "ResourceQuotas have no room for a sidecar; %s", then)
	for name, what := range lacking {
		line.Objects = append(line.Objects, fmt.Sprintf("%s (%s)", name, what))
	}
	slices.Sort(line.Objects)
	return []Line{line}
}

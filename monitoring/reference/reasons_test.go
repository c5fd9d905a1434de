package reference

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/admission"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// docs/reasons.md has each reason of the webhook and of the plugin.
func TestReasons(t *testing.T) {
	var decisions, problems, whys [][]string
	for _, reason := range inject.Reasons() {
		decisions = append(decisions, []string{code(reason.String()), reason.Sentence()})
	}
	for _, problem := range admission.Problems() {
		metric := "admissions_total"
		if problem.Rejected() {
			metric = "rejected_requests_total"
		}
		problems = append(problems, []string{code(problem.String()), code(metric), problem.Sentence()})
	}
	for why := vm.Expected + 1; why <= vm.SidecarEnded; why++ {
		if why == vm.Refused {
			continue // the webhook's reasons
		}
		cause := vm.Cause{Why: why, Detail: "DETAIL"}
		whys = append(whys, []string{code(why.String()), cause.Sentence(), cause.Hint()})
	}
	requireTables(t, "docs/reasons.md", map[string]string{
		"decisions": table("reason | meaning", decisions),
		"problems":  table("reason | counted in `hypervisor_exporter_webhook_…` | meaning", problems),
		"plugin":    table("reason | meaning | what to do", whys),
	})
}

// A name is an annotation or label of ours.
type name struct{ name, where, who, meaning string }

// names explains each annotation and label; their names come from the code.
func names() []name {
	return []name{
		{inject.AnnotationInject, "label of a namespace", "you", "`enabled`: VMs that start in the namespace get the sidecar"},
		{inject.AnnotationInject, "annotation or label in a VM's template", "you", "`false`: the VM gets no sidecar"},
		{inject.AnnotationCPU, "annotation in a VM's template", "you", "the sidecar's CPU request and limit, 1m to 500m"},
		{inject.AnnotationMemory, "annotation in a VM's template", "you", "the sidecar's memory request and limit, 24Mi to 256Mi"},
		{inject.AnnotationStatus, "annotation of a pod", "the webhook", "the version of the sidecar that the pod has"},
		{contract.AnnotationVMI, "annotation of a pod", "the webhook", "the VM's name, for the sidecar; what a VM's owner writes there is overwritten"},
	}
}

// docs/annotations.md has each annotation and label that code, manifests or chart use.
func TestNames(t *testing.T) {
	var rows [][]string
	known := map[string]bool{}
	for _, n := range names() {
		rows = append(rows, []string{code(n.name), n.where, n.who, n.meaning})
		known[n.name] = true
	}
	files := exec.Command("git", "ls-files", "-z", "webhook", "sidecar", "relay", "internal", "hypervisorctl", "manifests", "charts")
	files.Dir = "../.."
	listed, err := files.Output()
	require.NoError(t, err)
	used := regexp.MustCompile(`(?:^|[^a-z.])(hypervisor-exporter\.kubevirt\.io/[a-z-]+)`)
	for path := range strings.SplitSeq(strings.Trim(string(listed), "\x00"), "\x00") {
		if strings.Contains(path, "testdata") || strings.HasSuffix(path, "_test.go") {
			continue
		}
		content, err := os.ReadFile("../../" + path)
		require.NoError(t, err)
		for _, match := range used.FindAllStringSubmatch(string(content), -1) {
			require.True(t, known[match[1]], "%s: %s is not in the table", path, match[1])
		}
	}
	requireTables(t, "docs/annotations.md", map[string]string{"names": table("name | where | who writes it | meaning", rows)})
}

// README.md shows what explain prints, as its test has it.
func TestExplain(t *testing.T) {
	output, err := os.ReadFile(root + "hypervisorctl/clustertest/testdata/golden/explain-emulated.txt")
	require.NoError(t, err)
	requireTables(t, "README.md", map[string]string{"explain": "```\n" + string(output) + "```\n"})
}

package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// forged matches a line that begins as no line of ours does.
var forged = regexp.MustCompile(`(?m)^[\s'"|>,-]*FORGED`)

// callClean calls a command line against the hostile server. It fails if the command prints what a terminal interprets, or
// a line that is not its own.
func callClean(t *testing.T, url string, args ...string) answer {
	t.Helper()
	got := call(t, append([]string{"--server=" + url}, args...)...)
	for _, text := range []string{got.out, got.err} {
		require.NotRegexp(t, forged, text, args)
		for _, r := range text {
			require.True(t, r == '\n' || r != unicode.ReplacementChar && unicode.IsPrint(r), "%q in %q of %q", r, text, args)
		}
	}
	if args[len(args)-1] == "json" && got.out != "" {
		require.True(t, json.Valid([]byte(got.out)), got.out)
	}
	return got
}

func (e hostileServer) start(t *testing.T) (url string) {
	t.Helper()
	web := httptest.NewServer(e)
	t.Cleanup(web.Close)
	return web.URL
}

// hostileLaunchers are states of a VM's pods, with the text in each.
func hostileLaunchers(text string) map[string][]func(*corev1.Pod) {
	none := func(*corev1.Pod) {}
	state := func(state corev1.ContainerState) func(*corev1.Pod) {
		return func(pod *corev1.Pod) { pod.Status.InitContainerStatuses[0].State = state }
	}
	return map[string][]func(*corev1.Pod){
		"running": {none}, "two": {none, func(pod *corev1.Pod) { pod.Name += text }}, "no pod": {},
		"waiting":    {state(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: text, Message: text}})},
		"terminated": {state(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: text, Message: text}})},
		"without":    {func(pod *corev1.Pod) { pod.Spec.InitContainers = nil }},
	}
}

// TestHostileText: with any text in the objects, pages and errors of a cluster, no command prints a control character or a
// line that is not its own. The table is generated: each state of a pod, each value that is needed, an error of each path.
func TestHostileText(t *testing.T) {
	asYAML := [][]string{
		{"list", "-n", "shop", "FROM", "-o", "yaml"}, {"list", "-A", "--source=exec", "-o", "yaml"},
		{"check", "-n", "shop", "--all", "-o", "yaml"}, {"explain", "web", "FROM", "-o", "yaml"},
	}
	short := [][]string{{"list", "-A", "FROM", "-o", "wide"}, {"list", "-A", "FROM", "--problems"}, {"list", "-A", "--source=exec"}, {"check", "FROM"}, {"explain", "web", "-n", "shop", "FROM"}, {"collect", "--dry-run", "FROM"}}
	whole := slices.Concat(asYAML, short, [][]string{
		{"list", "-n", "shop", "FROM"}, {"list", "-A", "FROM", "-o", "json"}, {"list", "-A"}, {"check", "--all"}, {"check", "FROM", "-o", "json"},
		{"explain", "web", "-n", "shop"}, {"explain", "web", "FROM", "-o", "json"},
		{"list", "-A", "FROM", "-o", "name"}, {"list", "-A", "FROM", "-o", "kyaml"}, {"list", "-A", "--sort-by=.node", "-o", "jsonpath={.items}"},
		{"list", "-A", "FROM", "-o", "jsonpath={range .items[*]}{.name}{.node}{.reasonText}{end}"},
		{"list", "-A", "FROM", "-o", "go-template={{range .items}}{{.name}} {{.reasonText}}{{end}}"},
		{"list", "-A", "FROM", "-o", "custom-columns=A:.name,B:.node,C:.pod,D:.reasonText"},
		{"explain", "web", "FROM", "-o", "name"}, {"explain", "web", "FROM", "-o", "go-template={{.sentence}} {{.advice}} {{.facts}}"},
	})
	type hostileCase struct {
		name     string
		server   hostileServer
		commands [][]string // FROM is the flag for this server as Prometheus
	}
	var cases []hostileCase
	for name, pods := range hostileLaunchers(hostile) {
		cases = append(cases, hostileCase{name, hostileServer{text: hostile, launchers: pods}, whole})
	}
	for name, pods := range hostileLaunchers(lines) {
		cases = append(cases, hostileCase{name + ", as lines", hostileServer{text: lines, launchers: pods}, asYAML})
	}
	running := hostileServer{text: hostile, launchers: hostileLaunchers(hostile)["running"]}
	for _, name := range neededNames {
		also := running
		also.unset = name
		cases = append(cases, hostileCase{"also " + name, also, short})
	}
	for command, paths := range map[string][]string{ // each path in the command that reads it
		"check FROM": {
			"/version$", "/virtualmachineinstances", "/kubevirts", "/prometheuses$", "/podmonitors/", "/pods$", "/namespaces$", "/nodes/", "/deployments/",
			"/mutatingwebhookconfigurations/", "/mutatingadmission", "/endpointslices", "/limitranges", "/resourcequotas", "/events", "/daemonsets/", "/log$",
			"/proxy/", "/query$",
		},
		"collect --dry-run FROM":    {"/version$", "/pods$", "/deployments/", "/log$", "/proxy/", "/configmaps/", "/events", "/kubevirts", "."},
		"list -A FROM":              {"/virtualmachineinstances", "/pods$", "/namespaces/", "/events", "/query$"},
		"list -A --source=relay":    {"/podmonitors/", "/configmaps/", "/pods$", "/token$", "/selfsubjectaccessreviews$"},
		"explain web --source=exec": {"/virtualmachineinstances", "/kubevirts", "/nodes/", "/exec$", "/selfsubjectaccessreviews$", "."},
	} {
		for _, path := range paths {
			for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
				if status == http.StatusNotFound && command != "check FROM" { // the others do not distinguish it
					continue
				}
				broken := running
				broken.broken, broken.status = regexp.MustCompile(path), status
				cases = append(cases, hostileCase{fmt.Sprintf("%s %d, %s", path, status, command), broken, [][]string{strings.Fields(command)}})
			}
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := c.server.start(t)
			for _, args := range c.commands {
				args = slices.Clone(args)
				if at := slices.Index(args, "FROM"); at >= 0 {
					args[at] = "--prometheus-url=" + url
				}
				got := callClean(t, url, args...)
				require.NotEmpty(t, got.out+got.err, args)
			}
		})
	}
}

// The text reaches the output: a page's in the table, a pod's argument in an explanation.
func TestHostileTextIsPrinted(t *testing.T) {
	url := hostileServer{text: hostile, launchers: hostileLaunchers(hostile)["running"]}.start(t)
	row := callClean(t, url, "list", "-A", "--prometheus-url="+url, "-o", "wide")
	require.Regexp(t, `(?m)^x\\u001b\[2J.*kvm .*\\u001b.*prometheus `, row.out)
	why := callClean(t, url, "explain", "web", "--prometheus-url="+url)
	require.Regexp(t, `(?m)^VMI .*, owned by VirtualMachine x\\u001b\[2J.*, not live-migratable \(x\\u001b\[2J`, why.out)
	require.Regexp(t, `(?m)^node_is_vm: .* itself a VM \(x\\u001b\[2J`, why.out)
	require.Regexp(t, `(?m)^  change: .*virtctl restart x\\u001b\[2J`, why.out)
	require.Regexp(t, `(?m)^pod .*, hypervisor x\\u001b\[2J\\u001b\]0;t\\u0007\\u000d\\n\\tFORGED \\u009b31m\\u0085\\u202e\\u2066\\u200f\\u2028FORGED\\u2029\\nFORGED\\u007f`, why.out)
}

// TestHostileArguments: what a user was made to paste.
func TestHostileArguments(t *testing.T) {
	url := hostileServer{text: hostile, launchers: hostileLaunchers(hostile)["running"]}.start(t)
	for _, args := range [][]string{
		{hostile}, {"list", hostile}, {"list", "vmi/" + hostile, "--source=none"}, {"list", hostile + "/web"}, {"list", "--" + hostile},
		{"list", "-o", "jsonpath=" + hostile + "{"}, {"list", "-o", "go-template=" + hostile + "{{"}, {"list", "-o", "custom-columns=" + hostile},
		{"list", "-A", "-o", "custom-columns=" + hostile + ":.name", "--source=none"}, {"list", "--sort-by=" + hostile}, {"list", "--field-selector=" + hostile}, {"list", "-o", hostile}, {"list", "--source=" + hostile}, {"list", "-n", hostile, "--source=none"},
		{"list", "-l", hostile}, {"list", "--chunk-size=" + hostile}, {"list", "--prometheus-url=" + hostile}, {"list", "--prometheus-url=" + url, "--prometheus-ca-file=" + hostile},
		{"list", "--source=relay", "--relay-ca-file=" + hostile, "--relay-namespace=" + hostile}, {"list", "--context=" + hostile}, {"list", "--server=" + hostile},
		{"check", "-n", hostile}, {"explain", hostile, "-n", hostile}, {"explain"}, {"explain", hostile, hostile}, {"collect", "--dry-run", "-n", hostile}, {"collect", "-o", "/nonexistent/" + hostile}, {"help", hostile}, {"__complete", "explain", ""}, {"__complete", "list", "vmi/" + hostile}, {"__complete", "list", "-n", ""}, {"--help"}, {"version"},
	} {
		callClean(t, url, args...)
	}
}

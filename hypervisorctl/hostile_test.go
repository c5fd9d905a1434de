package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
)

// forged is a line that begins as no line of ours does.
var forged = regexp.MustCompile(`(?m)^[\s'"|>,-]*FORGED`)

// innocent calls a command line in the evil cluster and fails if it prints what a terminal acts on, or a line of others.
func (e evil) innocent(t *testing.T, kubeconfig string, args ...string) answer {
	t.Helper()
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := run(ctx, streams, append(args, "--kubeconfig="+kubeconfig))
	got := answer{out.String(), errOut.String(), code}
	for _, text := range []string{got.out, got.err} {
		require.NotRegexp(t, forged, text, args)
		for _, r := range text {
			require.True(t, r == '\n' || r != unicode.ReplacementChar && unicode.IsPrint(r), "%q in %q of %q", r, text, args)
		}
	}
	if strings.HasSuffix(strings.Join(args, " "), "-o json") && got.out != "" {
		require.True(t, json.Valid([]byte(got.out)), got.out)
	}
	return got
}

func (e evil) serve(t *testing.T) (url, config string) {
	t.Helper()
	web := httptest.NewServer(e)
	t.Cleanup(web.Close)
	return web.URL, kubeconfig(t, &rest.Config{Host: web.URL}, "x")
}

// commands are all ways of printing.
func commands(url string) [][]string {
	from := "--prometheus-url=" + url
	return [][]string{
		{"list", "-n", "shop", from}, {"list", "-A", from, "-o", "wide"}, {"list", "-A", from, "-o", "json"}, {"list", "-n", "shop", from, "-o", "yaml"},
		{"list", "-A"}, {"list", "-A", "--source=exec"}, {"list", "-A", "--source=exec", "-o", "yaml"},
		{"check", from}, {"check", "--all"}, {"check", "-n", "shop", "--all", "-o", "yaml"}, {"check", from, "-o", "json"},
		{"explain", "web", "-n", "shop", from}, {"explain", "web", "-n", "shop"}, {"explain", "web", from, "-o", "yaml"}, {"explain", "web", from, "-o", "json"},
	}
}

func launchers(text string) map[string][]func(*corev1.Pod) {
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

// TestHostileText: whatever text the objects, pages and errors of a cluster hold, no command prints a control character or
// a line that is not its own.
func TestHostileText(t *testing.T) {
	for _, text := range []string{hostile, lines} {
		for name, pods := range launchers(text) {
			t.Run(name, func(t *testing.T) {
				e := evil{text: text, launchers: pods}
				url, config := e.serve(t)
				for _, args := range commands(url) {
					got := e.innocent(t, config, args...)
					require.NotEmpty(t, got.out+got.err, args)
				}
			})
		}
	}
	for _, name := range sensibles {
		t.Run("also "+name, func(t *testing.T) {
			e := evil{text: hostile, launchers: launchers(hostile)["running"], unset: name}
			url, config := e.serve(t)
			for _, args := range commands(url) {
				e.innocent(t, config, args...)
			}
		})
	}
}

// The worlds reach what they are made for: a page's text in the table, a pod's argument in an explanation.
func TestHostileTextIsPrinted(t *testing.T) {
	e := evil{text: hostile, launchers: launchers(hostile)["running"]}
	url, config := e.serve(t)
	row := e.innocent(t, config, "list", "-A", "--prometheus-url="+url, "-o", "wide")
	require.Regexp(t, `(?m)^x\\u001b\[2J.*kvm .*\\u001b.*prometheus `, row.out)
	why := e.innocent(t, config, "explain", "web", "--prometheus-url="+url)
	require.Regexp(t, `(?m)^pod .*, hypervisor x\\u001b\[2J\\u001b\]0;t\\u0007\\u000d\\n\\tFORGED \\u009b31m\\u0085\\u202e\\u2066\\u200f\\u2028FORGED\\u2029\\nFORGED\\u007f`, why.out)
}

// TestHostileErrors: the same of errors, of each part that is asked.
func TestHostileErrors(t *testing.T) {
	parts := []string{
		"/version$", "/virtualmachineinstances", "/kubevirts", "/prometheuses$", "/podmonitors/", "/configmaps/", "/pods$", "/namespaces$", "/nodes/",
		"/deployments/", "/mutatingwebhookconfigurations/", "/mutatingadmission", "/endpointslices", "/limitranges", "/resourcequotas", "/events", "/daemonsets/", "/log$", "/token$", "/selfsubjectaccessreviews$", "/proxy/", "/query$", "/exec$", ".",
	}
	for _, part := range parts {
		for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
			t.Run(fmt.Sprintf("%s %d", part, status), func(t *testing.T) {
				e := evil{text: hostile, launchers: launchers(hostile)["running"], broken: regexp.MustCompile(part), status: status}
				url, config := e.serve(t)
				from := "--prometheus-url=" + url
				for _, args := range [][]string{{"list", "-A", from}, {"list", "-A", "--source=relay"}, {"check"}, {"check", from, "-o", "yaml"}, {"explain", "web", from}, {"explain", "web", "--source=exec"}} {
					e.innocent(t, config, args...)
				}
			})
		}
	}
}

// TestHostileArguments: what a user was made to paste.
func TestHostileArguments(t *testing.T) {
	e := evil{text: hostile, launchers: launchers(hostile)["running"]}
	url, config := e.serve(t)
	for _, args := range [][]string{
		{hostile}, {"list", hostile}, {"list", "--" + hostile}, {"list", "-o", hostile}, {"list", "--source=" + hostile}, {"list", "-n", hostile, "--source=none"},
		{"list", "-l", hostile}, {"list", "--chunk-size=" + hostile}, {"list", "--prometheus-url=" + hostile}, {"list", "--prometheus-url=" + url, "--prometheus-ca-file=" + hostile},
		{"list", "--source=relay", "--relay-ca-file=" + hostile, "--relay-namespace=" + hostile}, {"list", "--context=" + hostile}, {"list", "--server=" + hostile},
		{"check", "-n", hostile}, {"explain", hostile, "-n", hostile}, {"explain"}, {"explain", hostile, hostile}, {"help", hostile}, {"--help"}, {"version"},
	} {
		e.innocent(t, config, args...)
	}
}

package check

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

const docs = "../../docs"

// Each link leads to a page and a heading that exist, and every page of the source is tried.
func TestPagesExist(t *testing.T) {
	source, err := os.ReadFile("pages.go")
	require.NoError(t, err)
	found := regexp.MustCompile(`page = "([^"]+)"`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(found), 20)
	for _, one := range found {
		file, anchor, _ := strings.Cut(one[1], "#")
		content, err := os.ReadFile(filepath.Join(docs, file))
		require.NoError(t, err)
		if anchor != "" {
			require.Contains(t, headings(string(content)), anchor, one[1])
		}
	}
	require.Equal(t, rules.Docs+"/install.md", pageInstall.url())
}

// headings returns the anchors that GitHub gives to the headings.
func headings(page string) []string {
	var anchors []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		text := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors = append(anchors, strings.ReplaceAll(text, " ", "-"))
	}
	return anchors
}

// Every section has a page, so that every hint has a link.
func TestEverySectionHasAPage(t *testing.T) {
	for _, one := range append(steps(), step{section: "rights"}) {
		require.NotEmpty(t, pageOf(one.section), one.section)
	}
	r := &run{show: func(Line) {}}
	r.add("webhook", ok("fine"), warn("do this", "not fine"), warn("or this", "not fine").see(pageImage))
	require.Empty(t, r.lines[0].Link)
	require.Equal(t, pageWebhookDown.url(), r.lines[1].Link)
	require.Equal(t, pageImage.url(), r.lines[2].Link)
}

// No hint sends the reader to a file of the repository alone.
func TestHintsNeedNoClone(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range sources {
		if strings.HasSuffix(file, "_test.go") || file == "vms.go" || file == "monitoring.go" {
			continue
		}
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, line := range strings.Split(string(content), "\n") {
			if !strings.HasPrefix(strings.TrimSpace(line), "//") {
				require.NotRegexp(t, `"[^"]*(docs/[a-z]|manifests/[a-z]|hypervisorctl/[a-z]+\.yaml)[^"]*[ ;:]`, line, file)
			}
		}
	}
}

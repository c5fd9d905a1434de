// Command picture renders the dashboard's panels, from the same queries and a real
// Prometheus with the fleet of promtest, into docs/dashboards/fleet.png. It is no
// Grafana: what it shows is the data and the layout. It needs Debian's packages
// prometheus, chromium and fonts-dejavu-core.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"kubevirt-hypervisor-exporter/monitoring/dashboards/promtest"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

func main() {
	out := flag.String("out", "docs/dashboards/fleet.png", "the picture to write")
	flag.Parse()
	if err := draw(context.Background(), *out); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func draw(ctx context.Context, out string) error {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		return fmt.Errorf("%w; install it with: apt-get install -y --no-install-recommends chromium fonts-dejavu-core", err)
	}
	dir, err := os.MkdirTemp("", "picture")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	content, err := rules.RulesFile()
	if err != nil {
		return err
	}
	server, err := promtest.Start(ctx, dir, content)
	if err != nil {
		return err
	}
	defer server.Stop()
	page, height, err := render(server)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "page.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		return err
	}
	// --no-sandbox: the page is ours and root may not use Chromium's sandbox.
	output, err := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu",
		"--user-data-dir="+filepath.Join(dir, "chromium"), fmt.Sprintf("--window-size=%d,%d", pageWidth, height),
		"--screenshot="+out, "file://"+file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("chromium: %w: %s", err, output)
	}
	return nil
}

// Release makes everything that a release publishes into one folder, from what make has built: the image for all
// architectures, a manifest for each variant, the chart, rules and dashboard, the plugin for each platform with its krew
// manifest, SBOMs, provenance, notes and checksums. The same commit gives the same bytes.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// product names the image's last part, the chart and the files of a release.
const product = "kubevirt-hypervisor-exporter"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	slog.SetLogLoggerLevel(slog.LevelWarn) // Helm's loader logs each link of the chart
	if err := newCommand().ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	r := &release{}
	var checkOnly bool
	root := &cobra.Command{Use: "release", SilenceUsage: true, Args: cobra.NoArgs,
		Short: "Make the files of a release from what make has built",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.complete(cmd.Context()); err != nil {
				return err
			}
			if checkOnly {
				return nil
			}
			return r.make()
		},
	}
	flags := root.Flags()
	flags.StringVar(&r.root, "root", ".", "folder of the repository")
	flags.StringVar(&r.out, "out", "dist", "folder to write to; what it holds is removed")
	flags.StringVar(&r.archive, "image-archive", "bin/image.oci.tar", "the image that make has built, in the repository")
	flags.StringVar(&r.version, "version", "", "version to release, such as v0.2.0")
	flags.StringVar(&r.registry, "registry", "", "registry that the image and the chart are pushed to")
	flags.StringVar(&r.repository, "repository", product, "the image's repository in that registry; the chart's is beside it")
	flags.StringSliceVar(&r.platforms, "platforms", allPlatforms, "platforms to pack the plugin for, separated by commas or spaces")
	flags.StringVar(&r.docs, "docs", unsetDocs, "URL of docs/, which runbook links begin with")
	flags.StringVar(&r.downloads, "downloads", unsetDownloads, "URL of the folder that these files can be downloaded from")
	flags.BoolVar(&checkOnly, "check", false, "check the flags and make nothing, before make builds for minutes")
	root.AddCommand(pushCommands()...)
	return root
}

// Names that no one can register (RFC 6761), so that no one else can answer there.
const (
	unsetDocs      = "https://hypervisor-exporter.invalid/docs"
	unsetDownloads = "https://hypervisor-exporter.invalid/download"
	unsetImage     = "images-not-set.see-docs-install.invalid/" + product
)

// release is one version and where it goes.
type release struct {
	root, out, archive            string
	version, registry, repository string
	docs, downloads               string
	revision                      string
	time                          time.Time // of the commit
	platforms                     []string
	digest                        string // of the image's index
}

// versions are those that Helm, krew and registries take alike.
var versions = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

// complete checks the flags and reads the commit.
func (r *release) complete(ctx context.Context) error {
	if !versions.MatchString(r.version) {
		return fmt.Errorf("--version=%q must be a version such as v0.2.0", r.version)
	}
	if r.registry == "" {
		return fmt.Errorf("--registry is not set: name the registry that the image will be pushed to, such as registry.example")
	}
	platforms, err := separate(r.platforms)
	if err != nil {
		return err
	}
	r.platforms = platforms
	output, err := exec.CommandContext(ctx, "git", "-C", r.root, "log", "-1", "--format=%H %ct").Output()
	if err != nil {
		return fmt.Errorf("read the commit of %s: %w", r.root, err)
	}
	revision, seconds, _ := strings.Cut(strings.TrimSpace(string(output)), " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("read the commit's time: %w", err)
	}
	r.revision, r.time = revision, time.Unix(unix, 0).UTC()
	return nil
}

// image is the image's name without tag and digest.
func (r *release) image() string { return r.registry + "/" + r.repository }

// make writes all files.
func (r *release) make() error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"image", r.writeImage}, {"manifests", r.writeManifests}, {"chart", r.writeChart}, {"rules and dashboard", r.writeMonitoring},
		{"plugin", r.writePlugin}, {"SBOMs", r.writeSBOMs}, {"notes", r.writeNotes}, {"checksums", r.writeChecksums}, {"provenance", r.writeProvenance},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// write writes a file of the release.
func (r *release) write(name string, content []byte) error {
	return os.WriteFile(filepath.Join(r.out, name), content, 0o644)
}

// read reads a file of the repository.
func (r *release) read(name string) ([]byte, error) { return os.ReadFile(filepath.Join(r.root, name)) }

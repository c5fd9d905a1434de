package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"sigs.k8s.io/krew/pkg/index"
	"sigs.k8s.io/yaml"
)

// ofRepository is a release of this repository; its plugin is this test's own binary, on every platform.
func ofRepository(t *testing.T) *release {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"manifests", "charts", "CHANGELOG.md", "LICENSE"} {
		from, err := filepath.Abs(filepath.Join("..", name))
		require.NoError(t, err)
		require.NoError(t, os.Symlink(from, filepath.Join(root, name)))
	}
	own, err := os.Executable()
	require.NoError(t, err)
	for _, text := range allPlatforms {
		program := filepath.Join(root, readPlatform(text).built())
		require.NoError(t, os.MkdirAll(filepath.Dir(program), 0o755))
		require.NoError(t, os.Symlink(own, program))
	}
	return &release{
		root: root, out: t.TempDir(), version: "v0.2.0", registry: "registry.example:5000", repository: "exporter/" + product, platforms: allPlatforms,
		docs: "https://docs.example/docs", downloads: "https://files.example/v0.2.0", revision: "abc", time: time.Unix(1700000000, 0).UTC(),
		digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
}

func (r *release) written(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(r.out, name))
	require.NoError(t, err)
	return content
}

func TestManifestsNameTheImageByDigestAndOurLinks(t *testing.T) {
	r := ofRepository(t)
	require.NoError(t, r.writeManifests())
	require.NoError(t, r.writeMonitoring())
	overlays, err := os.ReadDir("../manifests/overlays")
	require.NoError(t, err)
	names := []string{"install.yaml"}
	for _, overlay := range overlays {
		names = append(names, "install-"+overlay.Name()+".yaml")
	}
	for _, name := range names {
		text := string(r.written(t, name))
		require.Contains(t, text, "registry.example:5000/exporter/"+product+"@"+r.digest, name)
		require.NotContains(t, text, ".invalid/docs", name)
		require.NotContains(t, text, "images-not-set.see", name)
	}
	require.Contains(t, string(r.written(t, "install.yaml")), "runbook_url: https://docs.example/docs/runbooks/")
	require.Contains(t, string(r.written(t, "rules.yaml")), "runbook_url: https://docs.example/docs/runbooks/")
	require.Contains(t, string(r.written(t, "rules-without-exporter.yaml")), "runbook_url: https://docs.example/docs/runbooks/")
	for _, dashboard := range []string{"dashboard.json", "dashboard-vm.json"} {
		require.True(t, json.Valid(r.written(t, dashboard)), dashboard)
	}
}

func TestChart(t *testing.T) {
	r := ofRepository(t)
	require.NoError(t, r.writeChart())
	chart, err := loader.LoadFile(filepath.Join(r.out, chartFile(r.version)))
	require.NoError(t, err)
	require.Equal(t, "0.2.0", chart.Metadata.Version)
	require.Equal(t, "v0.2.0", chart.Metadata.AppVersion)
	require.Equal(t, "registry.example:5000/exporter/"+product, chart.Values["image"].(map[string]any)["repository"])
	require.Equal(t, "https://docs.example/docs", chart.Values["monitoring"].(map[string]any)["docsURL"])
	require.Equal(t, "registry.example:5000/exporter/charts/"+product, r.chartRepository())
	require.Equal(t, "https://docs.example/docs/install.md", chart.Metadata.Home)
	for name, text := range chart.Metadata.Annotations {
		require.NotContains(t, text, unsetDocs, name)
		require.NotContains(t, text, "](docs/", name)
	}
	for _, file := range chart.Files {
		if file.Name == "README.md" {
			require.NotContains(t, string(file.Data), "(https://hypervisor-exporter.invalid")
			require.Contains(t, string(file.Data), "(https://docs.example/docs/install.md)")
		}
	}
	var images []map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(chart.Metadata.Annotations["artifacthub.io/images"]), &images))
	require.Equal(t, r.image()+":v0.2.0", images[0]["image"])
	var made []change
	require.NoError(t, yaml.Unmarshal([]byte(chart.Metadata.Annotations["artifacthub.io/changes"]), &made))
	require.NotEmpty(t, made)
	for _, one := range made { // https://artifacthub.io/docs/topics/annotations/helm
		require.Contains(t, []string{"added", "changed", "deprecated", "removed", "fixed", "security"}, one.Kind)
		require.NotEmpty(t, one.Description)
	}
}

func TestChangesOfASection(t *testing.T) {
	require.Equal(t, []change{{"added", "One thing, on two lines."}, {"fixed", "Another."}},
		changes("Read this.\n\n### Added\n\n- One thing,\n  on two lines.\n\n### Fixed\n\n- Another.\n"))
}

// krew installs the plugin by its manifest, and each archive is what the manifest says.
func TestPlugin(t *testing.T) {
	r := ofRepository(t)
	require.NoError(t, r.writePlugin())
	var plugin index.Plugin
	require.NoError(t, yaml.UnmarshalStrict(r.written(t, "krew.yaml"), &plugin))
	require.Len(t, plugin.Spec.Platforms, len(allPlatforms))
	home := t.TempDir()
	krew := filepath.Join(home, "krew")
	output, err := exec.Command("go", "build", "-o", krew, "sigs.k8s.io/krew/cmd/krew").CombinedOutput()
	require.NoError(t, err, "%s", output)
	for i, one := range plugin.Spec.Platforms {
		name := filepath.Base(one.URI)
		require.Equal(t, r.downloads+"/"+name, one.URI)
		archive := r.written(t, name)
		require.Equal(t, one.Sha256, sum(archive))
		system := readPlatform(allPlatforms[i])
		want := []string{"LICENSE", one.Bin}
		if system.os != "windows" {
			want = append(want, "kubectl_complete-hypervisor")
		}
		require.Equal(t, want, archiveNames(t, name, archive))

		root := filepath.Join(home, allPlatforms[i])
		install := exec.Command(krew, "install", "--manifest="+filepath.Join(r.out, "krew.yaml"), "--archive="+filepath.Join(r.out, name))
		install.Env = []string{"KREW_ROOT=" + root, "KREW_OS=" + system.os, "KREW_ARCH=" + system.arch, "HOME=" + home, "PATH=" + os.Getenv("PATH")}
		output, err := install.CombinedOutput()
		require.NoError(t, err, "%s", output)
		require.FileExists(t, filepath.Join(root, "store", "hypervisor", r.version, one.Bin))
	}
}

func archiveNames(t *testing.T, name string, content []byte) (names []string) {
	t.Helper()
	if filepath.Ext(name) == ".zip" {
		reader, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		require.NoError(t, err)
		for _, file := range reader.File {
			names = append(names, file.Name)
		}
		return names
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(content))
	require.NoError(t, err)
	for reader := tar.NewReader(unzipped); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return names
		}
		require.NoError(t, err)
		require.Equal(t, header.Name == "LICENSE", header.Mode&0o111 == 0, "only programs can be run")
		names = append(names, header.Name)
	}
}

// An SBOM names the modules that are in the program, here this test.
func TestSBOM(t *testing.T) {
	r := ofRepository(t)
	components, err := r.modules(readPlatform(allPlatforms[0]).built())
	require.NoError(t, err)
	require.NoError(t, r.writeSBOM("plugin", cdx.Component{Type: cdx.ComponentTypeApplication, Name: "plugin", Version: r.version, BOMRef: "plugin"}, components))
	var bom cdx.BOM
	require.NoError(t, cdx.NewBOMDecoder(bytes.NewReader(r.written(t, "sbom-plugin.cdx.json")), cdx.BOMFileFormatJSON).Decode(&bom))
	var urls []string
	for _, component := range *bom.Components {
		urls = append(urls, component.PackageURL)
	}
	require.Contains(t, urls, "pkg:golang/helm.sh/helm/v4@v4.3.1")
	require.Regexp(t, `^pkg:golang/std@go1\.`, urls[len(urls)-1])
	require.Equal(t, "2023-11-14T22:13:20Z", bom.Metadata.Timestamp)
}

func TestPublishedIsReadBack(t *testing.T) {
	r := ofRepository(t)
	require.NoError(t, r.write("a", []byte("a")))
	require.NoError(t, r.writeChecksums())
	require.NoError(t, r.writeProvenance())
	require.Equal(t, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a\n", string(r.written(t, checksums)))
	p := published{folder: r.out}
	require.NoError(t, p.read())
	require.Equal(t, published{Version: "v0.2.0", Image: "registry.example:5000/exporter/" + product, Digest: r.digest, Chart: product + "-0.2.0.tgz",
		ChartRepository: r.chartRepository(), Docs: r.docs, Downloads: r.downloads, folder: r.out}, p)
	require.Contains(t, string(r.written(t, provenanceFile)), "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")
}

func TestNotes(t *testing.T) {
	const changelog = "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.2.0] - 2026-12-01\n\n- two\n\n## [0.1.0]\n\n- one\n"
	for version, want := range map[string]string{"0.2.0": "- two\n", "0.1.0": "- one\n", "0.3.0": "- new\n"} {
		notes, err := section(changelog, version, "Unreleased")
		require.NoError(t, err)
		require.Equal(t, want, notes)
	}
	_, err := section("# Changelog\n", "0.2.0", "Unreleased")
	require.ErrorContains(t, err, "0.2.0")
}

// NOTES.md has no docs/ beside it: each of its links is absolute.
func TestLinksInNotes(t *testing.T) {
	r := ofRepository(t)
	require.NoError(t, r.writeNotes())
	links := regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(string(r.written(t, "NOTES.md")), -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		require.Regexp(t, "^https://", link[1])
	}
	require.Contains(t, string(r.written(t, "NOTES.md")), "("+r.docs+"/release.md)")
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for flags, says := range map[string]string{
		"--registry=r":                                       "--version",
		"--version=0.2.0 --registry=r":                       "v0.2.0",
		"--version=v0.2 --registry=r":                        "v0.2.0",
		"--version=v0.2.0+b --registry=r":                    "v0.2.0",
		"--version=v0.2.0":                                   "--registry is not set",
		"--version=v0.2.0 --registry=r --check --platforms=": "--platforms is empty",
		"--version=v0.2.0 --registry=r --check --platforms=linux-amd64,plan9-sparc": `"plan9-sparc" is none of linux-amd64`,
	} {
		command := newCommand()
		command.SetArgs(append(strings.Fields(flags), "--root=..", "--out="+t.TempDir()))
		command.SetErr(io.Discard)
		require.ErrorContains(t, command.Execute(), says, flags)
	}
}

// Only the platforms that are named get an archive and are in krew's manifest; make separates them by spaces.
func TestPlatforms(t *testing.T) {
	for _, flag := range []string{"linux-arm64 windows-amd64", "linux-arm64,windows-amd64"} {
		r := ofRepository(t)
		var err error
		r.platforms, err = separate(strings.Split(flag, ","))
		require.NoError(t, err)
		require.NoError(t, r.writePlugin())
		files, err := r.files()
		require.NoError(t, err)
		require.Equal(t, []string{"krew.yaml", "kubectl-hypervisor-v0.2.0-linux-arm64.tar.gz", "kubectl-hypervisor-v0.2.0-windows-amd64.zip"}, files)
		require.Equal(t, 2, strings.Count(string(r.written(t, "krew.yaml")), "sha256: "))
	}
}

// The image's archive does not show when it was built, only what is in it.
func TestImageArchive(t *testing.T) {
	r := ofRepository(t)
	r.archive = "image.oci.tar"
	image, err := random.Image(100, 1)
	require.NoError(t, err)
	folder := t.TempDir()
	_, err = layout.Write(folder, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image})}))
	require.NoError(t, err)
	var written [][]byte
	for _, at := range []string{"2026-01-01", "2026-02-02"} {
		output, err := exec.Command("tar", "--mtime="+at, "-C", folder, "-cf", filepath.Join(r.root, r.archive), ".").CombinedOutput()
		require.NoError(t, err, "%s", output)
		require.NoError(t, r.writeImage())
		written = append(written, r.written(t, imageArchive(r.version)))
	}
	require.True(t, bytes.Equal(written[0], written[1]))
	index, done, err := readArchive(filepath.Join(r.out, imageArchive(r.version)))
	require.NoError(t, err)
	defer done()
	digest, err := index.Digest()
	require.NoError(t, err)
	require.Equal(t, r.digest, digest.String())
}

// A registry without TLS: the error says what to add. ggcr and Helm both call loopback by HTTP, hence not through them.
func TestPushNamesTheFlagForARegistryWithoutTLS(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, err := http.Get("https://" + server.Listener.Addr().String())
	require.ErrorContains(t, withHint(err), "make push ARGS=--plain-http")
	_, err = http.Get("http://127.0.0.1:1")
	require.Equal(t, err, withHint(err))
}

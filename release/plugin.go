package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/krew/pkg/constants"
	"sigs.k8s.io/krew/pkg/index"
	"sigs.k8s.io/yaml"
)

// allPlatforms are those that the plugin is built for, as GOOS-GOARCH.
var allPlatforms = []string{"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64", "windows-amd64", "windows-arm64"}

// separate returns the platforms that a flag names; make separates them by spaces.
func separate(flag []string) ([]string, error) {
	platforms := strings.Fields(strings.Join(flag, " "))
	if len(platforms) == 0 {
		return nil, fmt.Errorf("--platforms is empty: name some of %s", strings.Join(allPlatforms, " "))
	}
	for _, text := range platforms {
		if !slices.Contains(allPlatforms, text) {
			return nil, fmt.Errorf("--platforms: %q is none of %s", text, strings.Join(allPlatforms, " "))
		}
	}
	return platforms, nil
}

type platform struct{ os, arch string }

func readPlatform(text string) platform {
	system, arch, _ := strings.Cut(text, "-")
	return platform{system, arch}
}

// program is the plugin's file on the platform.
func (p platform) program() string {
	if p.os == "windows" {
		return "kubectl-hypervisor.exe"
	}
	return "kubectl-hypervisor"
}

// built is where make has put it.
func (p platform) built() string { return "bin/plugin/" + p.os + "-" + p.arch + "/" + p.program() }

// completion is the program on the PATH that kubectl asks for completions of "kubectl hypervisor". It
// is a shell script, so Windows has none.
const completion = "#!/bin/sh\nexec kubectl hypervisor __complete \"$@\"\n"

// writePlugin writes an archive for each platform, and the manifest by which krew finds them.
func (r *release) writePlugin() error {
	license, err := r.read("LICENSE")
	if err != nil {
		return err
	}
	plugin := index.Plugin{
		TypeMeta:   metav1.TypeMeta{APIVersion: constants.CurrentAPIVersion, Kind: constants.PluginKind},
		ObjectMeta: metav1.ObjectMeta{Name: "hypervisor"},
		Spec: index.PluginSpec{
			Version:          r.version,
			Homepage:         r.docs,
			ShortDescription: "Show what executes each KubeVirt VM, and why one is slow",
			Description: "Shows for each KubeVirt VM whether KVM or software emulation executes it, why a VM has no metric,\n" +
				"and what is wrong with an installation of " + product + ".\nIt is not part of the KubeVirt project.\n",
		},
	}
	for _, text := range r.platforms {
		p := readPlatform(text)
		program, err := r.read(p.built())
		if err != nil {
			return fmt.Errorf("%w (make plugin builds it)", err)
		}
		name := fmt.Sprintf("kubectl-hypervisor-%s-%s-%s", r.version, p.os, p.arch)
		files := []archived{{"LICENSE", 0o644, license}, {p.program(), 0o755, program}}
		if p.os != "windows" {
			files = append(files, archived{"kubectl_complete-hypervisor", 0o755, []byte(completion)})
		}
		archive, extension, err := pack(p, files, r.time)
		if err != nil {
			return err
		}
		if err := r.write(name+extension, archive); err != nil {
			return err
		}
		plugin.Spec.Platforms = append(plugin.Spec.Platforms, index.Platform{
			URI:      r.downloads + "/" + name + extension,
			Sha256:   sum(archive),
			Bin:      p.program(),
			Files:    []index.FileOperation{{From: "*", To: "."}},
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"os": p.os, "arch": p.arch}},
		})
	}
	manifest, err := yaml.Marshal(plugin)
	if err != nil {
		return err
	}
	return r.write("krew.yaml", manifest)
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}

// archived is a file in an archive.
type archived struct {
	name    string
	mode    int64
	content []byte
}

// pack makes what a user of the platform can open: a zip for Windows, else a tar.gz.
func pack(p platform, files []archived, at time.Time) (archive []byte, extension string, err error) {
	var out bytes.Buffer
	if p.os == "windows" {
		return finish(&out, ".zip", zipFiles(&out, files, at))
	}
	return finish(&out, ".tar.gz", zippedTar(&out, files, at))
}

func finish(out *bytes.Buffer, extension string, err error) ([]byte, string, error) {
	return out.Bytes(), extension, err
}

func zipFiles(out *bytes.Buffer, files []archived, at time.Time) error {
	writer := zip.NewWriter(out)
	for _, file := range files {
		entry, err := writer.CreateHeader(&zip.FileHeader{Name: file.name, Method: zip.Deflate, Modified: at})
		if err != nil {
			return err
		}
		if _, err := entry.Write(file.content); err != nil {
			return err
		}
	}
	return writer.Close()
}

func zippedTar(out *bytes.Buffer, files []archived, at time.Time) error {
	zipped := gzip.NewWriter(out)
	if err := tarFiles(zipped, files, at); err != nil {
		return err
	}
	return zipped.Close()
}

func tarFiles(out io.Writer, files []archived, at time.Time) error {
	writer := tar.NewWriter(out)
	for _, file := range files {
		if err := writer.WriteHeader(&tar.Header{Name: file.name, Mode: file.mode, Size: int64(len(file.content)), ModTime: at}); err != nil {
			return err
		}
		if _, err := writer.Write(file.content); err != nil {
			return err
		}
	}
	return writer.Close()
}

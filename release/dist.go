package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/in-toto/in-toto-golang/in_toto"
	"github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/common"
	slsa "github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/v1"
)

// checksums is the file that `sha256sum --check` reads.
const checksums = "SHA256SUMS"

// writeNotes writes the version's section of CHANGELOG.md, or the one that is not released yet.
func (r *release) writeNotes() error {
	notes, err := r.notes()
	if err != nil {
		return err
	}
	return r.write("NOTES.md", []byte(notes))
}

// notes are the version's section, with links that lead to the release's docs: there is no docs/ beside NOTES.md.
func (r *release) notes() (string, error) {
	changelog, err := r.read("CHANGELOG.md")
	if err != nil {
		return "", err
	}
	changelog = bytes.ReplaceAll(changelog, []byte("](docs/"), []byte("]("+r.docs+"/"))
	return section(string(changelog), strings.TrimPrefix(r.version, "v"), "Unreleased")
}

// section returns the text under the first of the headings that there is.
func section(changelog string, headings ...string) (string, error) {
	for _, heading := range headings {
		_, text, found := strings.Cut(changelog, "\n## ["+heading+"]")
		if !found {
			continue
		}
		_, text, _ = strings.Cut(text, "\n")
		text, _, _ = strings.Cut(text, "\n## [")
		return strings.TrimSpace(text) + "\n", nil
	}
	return "", fmt.Errorf("CHANGELOG.md has none of the sections %q", headings)
}

// files are those written so far, sorted.
func (r *release) files() ([]string, error) {
	entries, err := os.ReadDir(r.out)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, err
}

// writeChecksums writes the SHA-256 of each file.
func (r *release) writeChecksums() error {
	names, err := r.files()
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s  %s\n", sum(content), name)
	}
	return r.write(checksums, []byte(lines.String()))
}

// published is what the external parameters in the provenance say: where a release goes, and what its files are.
type published struct {
	Version         string `json:"version"`
	Image           string `json:"image"`
	Digest          string `json:"imageDigest"`
	Chart           string `json:"chart"`
	ChartRepository string `json:"chartRepository"`
	Docs            string `json:"docs"`
	Downloads       string `json:"downloads"`

	folder string
	plain  bool
}

const provenanceFile = "provenance.intoto.json"

// buildType names the steps that made the files: `make release` of the commit.
const buildType = "https://hypervisor-exporter.invalid/docs/release.md"

// writeProvenance writes from which commit and with which Go the files were built, as an in-toto statement with SLSA's
// predicate. It is not signed: docs/release.md has the command.
func (r *release) writeProvenance() error {
	sums, err := os.ReadFile(filepath.Join(r.out, checksums))
	if err != nil {
		return err
	}
	statement := in_toto.ProvenanceStatementSLSA1{
		StatementHeader: in_toto.StatementHeader{Type: in_toto.StatementInTotoV01, PredicateType: slsa.PredicateSLSAProvenance},
		Predicate: slsa.ProvenancePredicate{
			BuildDefinition: slsa.ProvenanceBuildDefinition{
				BuildType: buildType,
				ExternalParameters: published{Version: r.version, Image: r.image(), Digest: r.digest, Chart: chartFile(r.version),
					ChartRepository: r.chartRepository(), Docs: r.docs, Downloads: r.downloads},
				ResolvedDependencies: []slsa.ResourceDescriptor{
					{Name: product, Digest: common.DigestSet{"gitCommit": r.revision}},
					{Name: "go", Annotations: map[string]any{"version": runtime.Version()}},
				},
			},
			RunDetails: slsa.ProvenanceRunDetails{Builder: slsa.Builder{ID: buildType}},
		},
	}
	for line := range strings.Lines(string(sums)) {
		digest, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		statement.Subject = append(statement.Subject, in_toto.Subject{Name: name, Digest: common.DigestSet{"sha256": digest}})
	}
	content, err := json.MarshalIndent(statement, "", "  ")
	if err != nil {
		return err
	}
	return r.write(provenanceFile, append(content, '\n'))
}

// read reads where a release goes.
func (p *published) read() error {
	content, err := os.ReadFile(filepath.Join(p.folder, provenanceFile))
	if err != nil {
		return fmt.Errorf("%w (make release makes it)", err)
	}
	var statement struct {
		Predicate struct {
			BuildDefinition struct {
				ExternalParameters *published `json:"externalParameters"`
			} `json:"buildDefinition"`
		} `json:"predicate"`
	}
	statement.Predicate.BuildDefinition.ExternalParameters = p
	if err := json.Unmarshal(content, &statement); err != nil {
		return fmt.Errorf("%s: %w", provenanceFile, err)
	}
	return nil
}

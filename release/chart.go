package main

import (
	"bytes"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
	"sigs.k8s.io/yaml"
)

// chartFile is what Helm calls a chart's archive.
func chartFile(version string) string {
	return product + "-" + strings.TrimPrefix(version, "v") + ".tgz"
}

// chartRepository is where the chart is pushed: beside the image, in a folder of charts, because Helm gives a chart's
// repository the chart's name, which is the image's.
func (r *release) chartRepository() string {
	return path.Join(r.registry, path.Dir(r.repository), "charts", product)
}

// writeChart writes the chart with the release's version, image and links as defaults.
func (r *release) writeChart() error {
	made, err := loader.LoadDir(filepath.Join(r.root, "charts", product))
	if err != nil {
		return err
	}
	made.Metadata.Version, made.Metadata.AppVersion = strings.TrimPrefix(r.version, "v"), r.version
	if err := r.annotate(made.Metadata); err != nil {
		return err
	}
	for _, file := range made.Raw {
		if file.Name == "values.yaml" {
			if err := r.setDefaults(file); err != nil {
				return err
			}
		}
	}
	for _, file := range made.Files {
		if file.Name == "README.md" {
			file.Data = bytes.ReplaceAll(file.Data, []byte(unsetDocs), []byte(r.docs))
		}
	}
	made.StampModTimes(r.time)
	_, err = util.Save(made, r.out)
	return err
}

func (r *release) setDefaults(values *common.File) error {
	for from, to := range map[string]string{
		`  repository: ""`:        `  repository: ` + r.image(),
		"  docsURL: " + unsetDocs: "  docsURL: " + r.docs,
	} {
		if bytes.Count(values.Data, []byte(from)) != 1 {
			return fmt.Errorf("values.yaml does not have %q once", from)
		}
		values.Data = bytes.Replace(values.Data, []byte(from), []byte(to), 1)
	}
	return nil
}

// annotate writes what Artifact Hub shows of a version: our links, the image and what has changed.
func (r *release) annotate(metadata *chart.Metadata) error {
	metadata.Home = strings.ReplaceAll(metadata.Home, unsetDocs, r.docs)
	for name, text := range metadata.Annotations {
		metadata.Annotations[name] = strings.ReplaceAll(text, unsetDocs, r.docs)
	}
	notes, err := r.notes()
	if err != nil {
		return err
	}
	for name, list := range map[string]any{
		"images":  []map[string]any{{"name": product, "image": r.image() + ":" + r.version, "platforms": []string{"linux/amd64", "linux/arm64", "linux/s390x"}}},
		"changes": changes(notes),
	} {
		text, err := yaml.Marshal(list)
		if err != nil {
			return err
		}
		metadata.Annotations["artifacthub.io/"+name] = string(text)
	}
	return nil
}

// change is one of Artifact Hub's.
type change struct {
	Kind        string `json:"kind"`
	Description string `json:"description"`
}

// changes are the items of a section of CHANGELOG.md, whose headings Artifact Hub has as kinds.
func changes(notes string) (all []change) {
	kind := ""
	for line := range strings.Lines(notes) {
		line = strings.TrimRight(line, "\n")
		if heading, found := strings.CutPrefix(line, "### "); found {
			kind = strings.ToLower(heading)
		} else if item, found := strings.CutPrefix(line, "- "); found {
			all = append(all, change{Kind: kind, Description: item})
		} else if more, found := strings.CutPrefix(line, "  "); found && len(all) > 0 {
			all[len(all)-1].Description += " " + strings.TrimSpace(more)
		}
	}
	return all
}

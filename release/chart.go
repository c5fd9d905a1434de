package main

import (
	"bytes"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
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
	chart, err := loader.LoadDir(filepath.Join(r.root, "charts", product))
	if err != nil {
		return err
	}
	chart.Metadata.Version, chart.Metadata.AppVersion = strings.TrimPrefix(r.version, "v"), r.version
	for _, file := range chart.Raw {
		if file.Name == "values.yaml" {
			if err := r.setDefaults(file); err != nil {
				return err
			}
		}
	}
	chart.StampModTimes(r.time)
	_, err = util.Save(chart, r.out)
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

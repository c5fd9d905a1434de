package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// writeManifests renders the default installation into install.yaml and each overlay into install-OVERLAY.yaml, with the
// image by digest.
func (r *release) writeManifests() error {
	folder, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(r.root, "manifests"))); err != nil {
		return err
	}
	if err := r.setImage(filepath.Join(folder, "images/kustomization.yaml")); err != nil {
		return err
	}
	overlays, err := os.ReadDir(filepath.Join(folder, "overlays"))
	if err != nil {
		return err
	}
	if err := r.writeInstallation(folder, "install.yaml"); err != nil {
		return err
	}
	for _, overlay := range overlays {
		if err := r.writeInstallation(filepath.Join(folder, "overlays", overlay.Name()), "install-"+overlay.Name()+".yaml"); err != nil {
			return err
		}
	}
	return nil
}

// setImage sets the image of all variants.
func (r *release) setImage(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var component map[string]any
	if err := yaml.Unmarshal(text, &component); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	component["images"] = []any{map[string]any{"name": product, "newName": r.image(), "digest": r.digest}}
	if text, err = yaml.Marshal(component); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

func (r *release) writeInstallation(folder, name string) error {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	text, err := resources.AsYaml()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	published := strings.ReplaceAll(string(text), unsetDocs, r.docs)
	if strings.Contains(published, unsetImage) {
		return fmt.Errorf("%s: the image is not set everywhere", name)
	}
	return r.write(name, []byte(fmt.Sprintf("# %s %s: kubectl apply --server-side -f %s\n%s", product, r.version, name, published)))
}

// writeMonitoring writes what a Prometheus without the operator and a Grafana without its sidecar load.
func (r *release) writeMonitoring() error {
	for _, name := range []string{"dashboard.json", "dashboard-vm.json"} {
		dashboard, err := r.read("manifests/monitoring/" + name)
		if err != nil {
			return err
		}
		if err := r.write(name, []byte(strings.ReplaceAll(string(dashboard), unsetDocs, r.docs))); err != nil {
			return err
		}
	}
	if err := r.writeRules("rules.yaml", "manifests/monitoring/prometheusrule.yaml", "manifests/relay/monitoring/prometheusrule.yaml"); err != nil {
		return err
	}
	return r.writeRules("rules-without-exporter.yaml", "manifests/without-exporter/prometheusrule.yaml")
}

// writeRules writes the groups of PrometheusRules as one rules file.
func (r *release) writeRules(name string, sources ...string) error {
	groups := []any{}
	for _, file := range sources {
		text, err := r.read(file)
		if err != nil {
			return err
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			var rule struct{ Spec struct{ Groups []any } }
			if err := yaml.Unmarshal([]byte(document), &rule); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			groups = append(groups, rule.Spec.Groups...)
		}
	}
	rules, err := yaml.Marshal(map[string]any{"groups": groups})
	if err != nil {
		return err
	}
	return r.write(name, []byte(strings.ReplaceAll(string(rules), unsetDocs, r.docs)))
}

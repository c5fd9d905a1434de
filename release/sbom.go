package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// imagePrograms are the image's, for this machine: for another architecture they are built from the same modules.
func imagePrograms() (paths []string) {
	for _, program := range []string{"sidecar", "supervisor", "webhook", "relay"} {
		paths = append(paths, filepath.Join("bin", runtime.GOARCH, program))
	}
	return paths
}

// writeSBOMs writes a CycloneDX document each for the image, the plugin and the chart.
func (r *release) writeSBOMs() error {
	image, err := r.modules(imagePrograms()...)
	if err != nil {
		return err
	}
	plugin, err := r.modules(readPlatform(r.platforms[0]).built())
	if err != nil {
		return err
	}
	digest := func(of string) *[]cdx.Hash { return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: of}} }
	container := cdx.Component{Type: cdx.ComponentTypeContainer, Name: r.image(), Version: r.version, Hashes: digest(r.digest[len("sha256:"):]), BOMRef: "image"}
	application := cdx.Component{Type: cdx.ComponentTypeApplication, Name: "kubectl-hypervisor", Version: r.version, BOMRef: "plugin"}
	chart := cdx.Component{Type: cdx.ComponentTypeApplication, Name: product, Version: r.version, Description: "Helm chart", BOMRef: "chart"}
	for name, bom := range map[string]struct {
		of    cdx.Component
		holds []cdx.Component
	}{"image": {container, image}, "plugin": {application, plugin}, "chart": {chart, []cdx.Component{container}}} {
		if err := r.writeSBOM(name, bom.of, bom.holds); err != nil {
			return err
		}
	}
	return nil
}

func (r *release) writeSBOM(name string, of cdx.Component, holds []cdx.Component) error {
	of.Licenses = &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Timestamp: r.time.Format("2006-01-02T15:04:05Z"), Component: &of}
	bom.Components = &holds
	depends := []string{}
	for _, component := range holds {
		depends = append(depends, component.BOMRef)
	}
	bom.Dependencies = &[]cdx.Dependency{{Ref: of.BOMRef, Dependencies: &depends}}
	var out bytes.Buffer
	encoder := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	if err := encoder.Encode(bom); err != nil {
		return err
	}
	return r.write("sbom-"+name+".cdx.json", out.Bytes())
}

// modules are those that the Go linker wrote into the programs, the standard library included.
func (r *release) modules(programs ...string) ([]cdx.Component, error) {
	found := map[string]cdx.Component{}
	for _, program := range programs {
		info, err := buildinfo.ReadFile(filepath.Join(r.root, program))
		if err != nil {
			return nil, fmt.Errorf("read the modules of %s: %w", program, err)
		}
		add := func(module, version string) {
			url := "pkg:golang/" + module + "@" + version
			found[url] = cdx.Component{Type: cdx.ComponentTypeLibrary, Name: module, Version: version, PackageURL: url, BOMRef: url}
		}
		add("std", info.GoVersion)
		for _, module := range info.Deps {
			module = replaced(module)
			add(module.Path, module.Version)
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b cdx.Component) int { return cmp.Compare(a.PackageURL, b.PackageURL) }), nil
}

func replaced(module *debug.Module) *debug.Module {
	if module.Replace != nil {
		return module.Replace
	}
	return module
}

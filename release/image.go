package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// imageArchive is the image for all architectures, as an OCI archive.
func imageArchive(version string) string { return product + "-" + version + ".oci.tar" }

// writeImage copies the archive that `make image` built, and keeps its digest: all else names the image by it.
func (r *release) writeImage() error {
	content, err := r.read(r.archive)
	if err != nil {
		return fmt.Errorf("%w (make image builds it)", err)
	}
	if err := r.write(imageArchive(r.version), content); err != nil {
		return err
	}
	index, done, err := readArchive(filepath.Join(r.out, imageArchive(r.version)))
	if err != nil {
		return err
	}
	defer done()
	digest, err := index.Digest()
	r.digest = digest.String()
	return err
}

// readArchive opens the index over all architectures in an OCI archive. done removes what was unpacked.
func readArchive(path string) (index v1.ImageIndex, done func(), err error) {
	folder, err := os.MkdirTemp("", "release-")
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = os.RemoveAll(folder) }
	defer func() {
		if err != nil {
			done()
		}
	}()
	if err := unpack(path, folder); err != nil {
		return nil, nil, err
	}
	outer, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, nil, err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return nil, nil, err
	}
	if len(manifest.Manifests) != 1 || !manifest.Manifests[0].MediaType.IsIndex() {
		return nil, nil, fmt.Errorf("%s does not hold one image for several architectures", path)
	}
	index, err = outer.ImageIndex(manifest.Manifests[0].Digest)
	return index, done, err
}

// unpack writes the regular files of an archive of ours.
func unpack(path, folder string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		target := filepath.Join(folder, filepath.Clean("/"+header.Name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			return err
		}
	}
}

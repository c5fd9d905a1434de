package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// imageArchive is the image for all architectures, as an OCI archive.
func imageArchive(version string) string { return product + "-" + version + ".oci.tar" }

// writeImage writes the archive that `make image` built, with the times of the commit in place of those of the build, and
// keeps the image's digest: all else names the image by it.
func (r *release) writeImage() error {
	folder, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if err := unpack(filepath.Join(r.root, r.archive), folder); err != nil {
		return fmt.Errorf("%w (make image builds it)", err)
	}
	index, err := readLayout(folder)
	if err != nil {
		return fmt.Errorf("%s: %w", r.archive, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	r.digest = digest.String()
	var files []archived
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error { // in the order of names
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		files = append(files, archived{name, 0o644, content})
		return err
	})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := tarFiles(&out, files, r.time); err != nil {
		return err
	}
	return r.write(imageArchive(r.version), out.Bytes())
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
	index, err = readLayout(folder)
	return index, done, err
}

// readLayout returns the index over all architectures in an OCI layout.
func readLayout(folder string) (v1.ImageIndex, error) {
	outer, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 || !manifest.Manifests[0].MediaType.IsIndex() {
		return nil, errors.New("it does not hold one image for several architectures")
	}
	return outer.ImageIndex(manifest.Manifests[0].Digest)
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

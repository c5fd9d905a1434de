package testkit

import (
	"os"
	"path/filepath"
)

// PublishVolume writes files into a volume so that a reader sees all old ones or all new ones, as the kubelet does with a
// Secret (pkg/volume/util/atomic_writer.go): a folder for each version, the link ..data to the newest, and links into it.
func PublishVolume(volume string, files map[string][]byte) error {
	version, err := os.MkdirTemp(volume, "..version")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(version, name), content, 0o600); err != nil {
			return err
		}
		link := filepath.Join(volume, name)
		if err := os.Symlink(filepath.Join("..data", name), link); err != nil && !os.IsExist(err) {
			return err
		}
	}
	next := filepath.Join(volume, "..data_next")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(volume, "..data"))
}

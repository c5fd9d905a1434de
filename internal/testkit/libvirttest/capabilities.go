package libvirttest

import (
	"os"
	"path/filepath"
)

// What libvirt finds out about a QEMU takes it 4 s and two runs of QEMU, kept in a
// cache. The folder of each Daemon is new, so that is carried from one to the next
// through this user's cache folder. libvirt itself sees to it that it is not stale: it
// compares the versions, times of change, kernel and KVM (qemu_capabilities.c,
// virQEMUCapsIsValid). Without a cache folder, nothing is carried and nothing is lost.

const capabilityFiles = "libvirt/qemu/cache/capabilities"

func loadCapabilities(f folder) {
	if kept := keptCapabilities(); kept != "" {
		copyXML(kept, filepath.Join(f.cache(), capabilityFiles))
	}
}

func saveCapabilities(f folder) {
	if kept := keptCapabilities(); kept != "" {
		copyXML(filepath.Join(f.cache(), capabilityFiles), kept)
	}
}

func keptCapabilities() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "libvirttest", "capabilities")
}

// copyXML copies what it can; each file appears whole, as other processes read and
// write here at the same time.
func copyXML(from, to string) {
	files, _ := filepath.Glob(filepath.Join(from, "*.xml"))
	if len(files) == 0 || os.MkdirAll(to, 0o700) != nil {
		return
	}
	for _, file := range files {
		copyWhole(file, filepath.Join(to, filepath.Base(file)))
	}
}

func copyWhole(from, to string) {
	text, err := os.ReadFile(from)
	if err != nil {
		return
	}
	part, err := os.CreateTemp(filepath.Dir(to), ".part-*")
	if err != nil {
		return
	}
	_, err = part.Write(text)
	if part.Close() == nil && err == nil {
		err = os.Rename(part.Name(), to)
	}
	if err != nil {
		_ = os.Remove(part.Name())
	}
}

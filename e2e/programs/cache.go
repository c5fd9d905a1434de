package programs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Cache is a folder of what takes long to make, each under a name that changes with what it is made of.
type Cache string

// UserCache returns this user's cache folder for the end-to-end tests.
func UserCache() (Cache, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder (set HOME or XDG_CACHE_HOME): %w", err)
	}
	dir := filepath.Join(base, "kubevirt-hypervisor-exporter", "e2e")
	return Cache(dir), os.MkdirAll(dir, 0o755)
}

// Path joins names under the folder.
func (c Cache) Path(names ...string) string {
	return filepath.Join(append([]string{string(c)}, names...)...)
}

// Make returns the path of name-<hash of ingredients>, which fill makes once. Several processes may ask at once: one
// makes it, the others wait. What a failed or interrupted fill left is removed before the next.
func (c Cache) Make(ctx context.Context, name string, ingredients []byte, fill func(ctx context.Context, path string) error) (string, error) {
	sum := sha256.Sum256(ingredients)
	path := c.Path(name + "-" + hex.EncodeToString(sum[:])[:12])
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("open the lock of %s: %w", name, err)
	}
	defer func() { _ = lock.Close() }() // closing unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unfinished := path + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", fmt.Errorf("remove the unfinished %s: %w", name, err)
	}
	if err := fill(ctx, unfinished); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	return path, os.Rename(unfinished, path)
}

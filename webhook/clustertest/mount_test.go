package clustertest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mountSecret keeps the data of a Secret in a folder until the end of the test, as the kubelet does.
func mountSecret(t *testing.T, name string) string {
	t.Helper()
	volume := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := server.Client.CoreV1().Secrets(productNamespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(t, err)
	var following sync.WaitGroup
	following.Go(func() {
		for event := range watch.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok {
				if err := publish(volume, secret.Data); err != nil {
					t.Errorf("mount %s: %v", name, err)
				}
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		watch.Stop()
		following.Wait()
	})
	return volume
}

// publish puts files into a volume so that a reader sees all old ones or all new ones (kubelet:
// pkg/volume/util/atomic_writer.go): a folder for each version, and the link ..data turned over to it.
func publish(volume string, files map[string][]byte) error {
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

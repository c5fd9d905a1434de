package flood

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// launcherPod is a pod that the webhook injects.
const launcherPod = "webhook/inject/testdata/masq.yaml"

// readLauncherPod returns that pod, as JSON too.
func readLauncherPod(root string) ([]byte, *inject.Pod, error) {
	text, err := os.ReadFile(filepath.Join(root, launcherPod))
	if err != nil {
		return nil, nil, err
	}
	return inject.ReadPod(text)
}

// A container is what a manifest sets for a program's container.
type container struct {
	limits      memlimit.Limits
	environment []string // of the Go runtime
}

// fromManifest reads the container with the name out of a manifest.
func fromManifest(root, file, name string) (container, error) {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return container{}, err
	}
	var workload struct {
		Spec struct{ Template corev1.PodTemplateSpec }
	}
	if err := yaml.Unmarshal(text, &workload); err != nil {
		return container{}, fmt.Errorf("%s: %w", file, err)
	}
	c, err := find(workload.Spec.Template.Spec.Containers, name)
	if err != nil {
		return container{}, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// injected reads the sidecar's container out of a launcher pod as the webhook changes it.
func injected(root string) (container, error) {
	pod, err := os.ReadFile(filepath.Join(root, launcherPod))
	if err != nil {
		return container{}, err
	}
	var out bytes.Buffer
	if err := inject.Run(inject.Default("sidecar"), bytes.NewReader(pod), &out, io.Discard, inject.RunOptions{Format: inject.FormatJSON}); err != nil {
		return container{}, err
	}
	var launcher corev1.Pod
	if err := yaml.Unmarshal(out.Bytes(), &launcher); err != nil {
		return container{}, err
	}
	return find(launcher.Spec.InitContainers, inject.ContainerName)
}

func find(all []corev1.Container, name string) (container, error) {
	at := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name })
	if at < 0 || all[at].Resources.Limits.Memory().IsZero() {
		return container{}, fmt.Errorf("no container %q with a memory limit", name)
	}
	limits := all[at].Resources.Limits
	found := container{limits: memlimit.Limits{Memory: limits.Memory().Value(), CPU: limits.Cpu().AsApproximateFloat64()}}
	for _, variable := range all[at].Env {
		if slices.Contains([]string{"GOMEMLIMIT", "GOMAXPROCS", "GOGC"}, variable.Name) {
			found.environment = append(found.environment, variable.Name+"="+variable.Value)
		}
	}
	return found, nil
}

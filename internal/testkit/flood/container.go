package flood

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// A container is what a manifest says of a program's container.
type container struct {
	limits      memlimit.Limits
	environment []string
}

// goVariables are those of the Go runtime; the others are set by each program's start.
var goVariables = []string{"GOMEMLIMIT", "GOMAXPROCS", "GOGC"}

// fromManifest reads the container with the name out of a manifest, with the variables
// that its image has (Containerfile).
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
	image, err := imageVariables(root, c.image)
	c.environment = append(image, c.environment...) // of two, the last wins (os/exec)
	return c.container, err
}

// injected reads the sidecar's container out of what the webhook makes of a launcher pod.
func injected(root string) (container, error) {
	pod, err := os.ReadFile(filepath.Join(root, "webhook/inject/testdata/masq.yaml"))
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
	c, err := find(launcher.Spec.InitContainers, inject.ContainerName)
	return c.container, err
}

type imageContainer struct {
	container
	image string
}

func find(all []corev1.Container, name string) (imageContainer, error) {
	for _, c := range all {
		if c.Name != name {
			continue
		}
		found := imageContainer{image: c.Image}
		memory := c.Resources.Limits.Memory()
		if memory.IsZero() {
			return found, errors.New("the container has no memory limit")
		}
		found.limits = memlimit.Limits{Memory: memory.Value(), CPU: c.Resources.Limits.Cpu().AsApproximateFloat64()}
		for _, variable := range c.Env {
			if isGoVariable(variable.Name) {
				found.environment = append(found.environment, variable.Name+"="+variable.Value)
			}
		}
		return found, nil
	}
	return imageContainer{}, fmt.Errorf("no container %q", name)
}

// imageVariables reads the Go runtime's variables of a stage of the Containerfile.
func imageVariables(root, stage string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(root, "Containerfile"))
	if err != nil {
		return nil, err
	}
	var variables []string
	current := ""
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 4 && words[0] == "FROM":
			current = words[3]
		case len(words) > 1 && words[0] == "ENV" && current == stage:
			variables = append(variables, words[1:]...)
		}
	}
	return variables, nil
}

func isGoVariable(name string) bool {
	for _, known := range goVariables {
		if name == known {
			return true
		}
	}
	return false
}

// moduleRoot is the folder with the go.mod above the working directory.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("no go.mod above the working directory: run this inside the repository")
		}
		folder = parent
	}
}

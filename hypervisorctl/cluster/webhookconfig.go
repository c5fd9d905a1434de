package cluster

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// DefaultConfig returns the configuration to use if the Deployment cannot be read: the webhook's defaults. Only the port,
// the pull secrets, the architectures and the resources could differ.
func DefaultConfig() inject.Config { return inject.Default("unknown") }

// ConfigOf reads the webhook's configuration from its Deployment. It ignores flags that do not matter for a decision, also
// those of later versions.
func ConfigOf(deployment *appsv1.Deployment) (inject.Config, error) {
	containers := deployment.Spec.Template.Spec.Containers
	at := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == "webhook" })
	if at < 0 {
		return inject.Config{}, fmt.Errorf("deployment %s has no container called webhook", deployment.Name)
	}
	cfg := DefaultConfig()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	cfg.AddFlags(flags)
	if err := flags.Parse(expand(&containers[at])); err != nil {
		return inject.Config{}, fmt.Errorf("read the arguments of deployment %s: %w", deployment.Name, err)
	}
	return cfg, nil
}

// expand fills in $(VARIABLES) as the kubelet does, of those that have a plain value.
func expand(container *corev1.Container) []string {
	var pairs []string
	for _, variable := range container.Env {
		pairs = append(pairs, "$("+variable.Name+")", variable.Value)
	}
	replacer := strings.NewReplacer(pairs...)
	words := make([]string, len(container.Args))
	for i, word := range container.Args {
		words[i] = replacer.Replace(word)
	}
	return words
}

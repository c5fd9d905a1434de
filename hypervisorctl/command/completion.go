package command

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// completionTimeout is how long a shell waits for names.
const completionTimeout = 5 * time.Second

// complete sets what shells complete: names of VMIs, and values of flags.
func (f *flags) complete(root *cobra.Command) {
	f.completeFlag(root, "namespace", f.namespaces)
	f.completeFlag(root, "exporter-namespace", f.namespaces)
	f.completeFlag(root, "relay-namespace", f.namespaces)
	f.completeFlag(root, "source", func(context.Context) ([]string, error) { return sources(), nil })
	f.completeFlag(root, "context", f.contexts)
	for _, command := range root.Commands() {
		if command.ValidArgsFunction == nil && len(command.ValidArgs) == 0 {
			command.ValidArgsFunction = cobra.NoFileCompletions
		}
	}
}

// completeFlag lets a shell complete a flag with what values returns.
func (f *flags) completeFlag(command *cobra.Command, flag string, values func(context.Context) ([]string, error)) {
	complete := func(command *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completions(command.Context(), "", prefix, values)
	}
	if err := command.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag
	}
}

// completeVMs completes NAME and KIND/NAME, as many as the command takes.
func (f *flags) completeVMs(most int) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		kind := ""
		if before, _, found := strings.Cut(prefix, "/"); found {
			kind = before + "/"
		}
		return completions(command.Context(), kind, prefix, f.vmis)
	}
}

// completions returns the values that begin with the prefix. An error completes nothing: a shell cannot show it.
func completions(ctx context.Context, before, prefix string, values func(context.Context) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	all, err := values(ctx)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	var found []cobra.Completion
	for _, value := range all {
		if value = before + value; strings.HasPrefix(value, prefix) {
			found = append(found, value)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func (f *flags) contexts(context.Context) ([]string, error) {
	config, err := f.kube.ToRawKubeConfigLoader().RawConfig()
	return slices.Sorted(maps.Keys(config.Contexts)), err
}

func (f *flags) namespaces(ctx context.Context) ([]string, error) {
	s, err := f.connect()
	if err != nil {
		return nil, err
	}
	list, err := s.cluster.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return typeable(names), nil
}

func (f *flags) vmis(ctx context.Context) ([]string, error) {
	s, err := f.connect()
	if err != nil {
		return nil, err
	}
	namespace, err := f.namespace()
	if err != nil {
		return nil, err
	}
	names, err := s.cluster.VMINames(ctx, namespace)
	return typeable(names), err
}

// typeable returns the names that are names for Kubernetes: a shell takes what it completes as typed by the user.
func typeable(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return len(validation.IsDNS1123Subdomain(name)) > 0 })
}

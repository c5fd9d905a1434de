package command

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/hypervisorctl/check"
	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/collect"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

type collectOptions struct {
	*flags
	output string
	dryRun bool
}

func newCollectCommand(common *flags, name string) *cobra.Command {
	options := &collectOptions{flags: common}
	command := &cobra.Command{
		Use:   "collect",
		Short: "Write a support bundle without secrets",
		Long: `Collect writes what is needed to find out why VMs have no metric into one archive: the objects of the installation, logs of
its pods, check's report, the list of VMs, the sidecars of VMs without a type, versions. It lists each file first.

It reads no Secret, no ConfigMap but the relay's CA, and no user data of a VM. Of objects it keeps known fields only, and no
values of annotations and variables that are not its own. What it may not read is a line in index.txt.

With -n, it collects the VMs of that namespace, otherwise all. The bundle has at most 48 MiB before it is compressed.`,
		Example: examples(name, "collect --dry-run", "collect -n shop -o bundle.tar.gz"),
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return options.run(cmd.Context()) },
	}
	set := command.Flags()
	set.StringVarP(&options.output, "output", "o", "", "file to write, which must not exist; by default hypervisor-TIME.tar.gz in this directory")
	set.BoolVar(&options.dryRun, "dry-run", false, "list the files, write nothing")
	return command
}

func (o *collectOptions) run(ctx context.Context) (err error) {
	s, err := o.connect()
	if err != nil {
		return err
	}
	api, err := s.cluster.Version(ctx)
	if err != nil {
		return err
	}
	now := o.now().UTC()
	folder := "hypervisor-" + now.Format("20060102-150405")
	file := o.output
	if file == "" {
		file = folder + ".tar.gz"
	}
	bundle := &collect.Bundle{}
	if err := s.findInstallation(ctx); err != nil {
		bundle.Missing("the namespaces of the installation, so those of the manifests were read", err)
		s.exporter, s.relay = cmp.Or(s.exporter, cluster.ExporterNamespace), cmp.Or(s.relay, cluster.RelayNamespace)
	}
	scope := collect.Scope{Exporter: s.exporter, Relay: s.relay, Namespace: *o.kube.Namespace}
	if err := s.addCheck(ctx, bundle); err != nil {
		return err
	}
	s.addVMs(ctx, &scope, bundle)
	collect.Objects(ctx, s.cluster, scope, bundle)
	collect.Logs(ctx, s.cluster, scope, bundle)
	collect.Launchers(ctx, s.cluster, scope, bundle)
	if err := ctx.Err(); err != nil {
		return err
	}
	bundle.Index(fmt.Sprintf("hypervisorctl %s %s\nKubernetes %s\nCollected at %s; VMs of %s", version.Info(), version.BuildContext(), api, now.Format("2006-01-02 15:04:05 MST"), where(scope.Namespace)))

	for _, one := range bundle.Files {
		if err := o.out.Printf("%9d  %s\n", len(one.Content), one.Name); err != nil {
			return err
		}
	}
	if o.dryRun {
		return o.errOut.Printf("Nothing was written (--dry-run).\n")
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	if err := errors.Join(bundle.Write(out, folder, now), out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return o.errOut.Printf("Wrote %s. Read it before you pass it on.\n", file)
}

func where(namespace string) string {
	if namespace == "" {
		return "all namespaces"
	}
	return "the namespace " + namespace
}

// addCheck adds check's report.
func (s *session) addCheck(ctx context.Context, bundle *collect.Bundle) error {
	request, done, err := s.checkRequest(ctx)
	if err != nil {
		return err
	}
	defer done()
	var text bytes.Buffer
	printer := check.NewPrinter(terminal.NewWriter(&text), 0)
	report := check.Run(ctx, s.cluster, request, printer.Line)
	_ = printer.End(report) // to memory
	bundle.Add("check.txt", text.Bytes())
	return nil
}

// addVMs adds the list of VMs, and sets which pods matter.
func (s *session) addVMs(ctx context.Context, scope *collect.Scope, bundle *collect.Bundle) {
	const file = "vms/list.yaml"
	vms, note, err := s.survey(ctx, scope.Namespace)
	if err != nil {
		bundle.Missing(file, err)
		return
	}
	if note != "" {
		bundle.Missing("types of VMs", errors.New(note))
	}
	list := NewList(vms)
	scope.Pods = map[string]collect.Launcher{}
	for _, row := range list.Items {
		scope.Pods[row.Namespace+"/"+row.Pod] = collect.Launcher{Troubled: row.Type == "", Sidecar: row.State != vm.Absent}
	}
	fields, err := clean(list)
	if err == nil {
		var content []byte
		if content, err = yaml.Marshal(fields); err == nil {
			bundle.Add(file, content)
			return
		}
	}
	bundle.Missing(file, err)
}

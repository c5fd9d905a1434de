package command

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// The values of --output of the command rules.
const (
	outputPrometheusRule = "prometheusrule"
	outputRulesFile      = "rules-file"
)

type rulesOptions struct {
	*flags
	output          string
	settings        string
	withoutExporter bool
}

func newRulesCommand(common *flags, name string) *cobra.Command {
	options := &rulesOptions{flags: common}
	command := &cobra.Command{
		Use:   "rules",
		Short: "Print the alerts and recording rules with settings of your own",
		Long: "Print the alerts and recording rules with settings of your own: severities, durations, labels, and the label that\n" +
			"tells clusters apart. docs/alerts.md describes the settings. No request goes to a cluster: without\n" +
			"--exporter-namespace and --relay-namespace, the namespaces are those of the manifests.",
		Example: examples(name, "rules --settings rules-settings.yaml | kubectl apply -f -", "rules -o rules-file > rules.yaml",
			"rules --without-exporter | kubectl apply -n monitoring -f -"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return options.run(cmd.InOrStdin()) },
	}
	set := command.Flags()
	set.StringVarP(&options.output, "output", "o", outputPrometheusRule, "prometheusrule, or rules-file for a Prometheus without the operator")
	set.StringVar(&options.settings, "settings", "", "file with settings, - for standard input; none are the rules of the manifests")
	set.BoolVar(&options.withoutExporter, "without-exporter", false, "print instead the alerts for clusters without the exporter, from the metrics of KubeVirt and\nkube-state-metrics")
	return command
}

func (o *rulesOptions) run(in io.Reader) error {
	render, known := map[string]func([]rules.Component) ([]byte, error){
		outputPrometheusRule: rules.PrometheusRules,
		outputRulesFile:      rules.RulesFile,
	}[o.output]
	if !known {
		return fmt.Errorf("--output=%s: must be %s or %s", o.output, outputPrometheusRule, outputRulesFile)
	}
	settings, err := o.read(in)
	if err != nil {
		return fmt.Errorf("--settings=%s: %w", o.settings, err)
	}
	settings.Namespace, settings.RelayNamespace = o.exporter, o.relay
	components := settings.Components()
	if o.withoutExporter {
		components = []rules.Component{settings.WithoutExporter()}
	}
	content, err := render(components)
	if err != nil {
		return err
	}
	_, err = o.out.Filter().Write(content)
	return err
}

func (o *rulesOptions) read(in io.Reader) (rules.Settings, error) {
	var content []byte
	var err error
	switch o.settings {
	case "":
		return rules.Settings{}, nil
	case "-":
		content, err = io.ReadAll(in)
	default:
		content, err = os.ReadFile(o.settings)
	}
	if err != nil {
		return rules.Settings{}, err
	}
	return rules.ReadSettings(content)
}

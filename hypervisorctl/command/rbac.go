package command

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

//go:embed rbac.yaml
var rbacYAML string

type rbacOptions struct {
	*flags
	user string
}

func newRBACCommand(common *flags, name string) *cobra.Command {
	options := &rbacOptions{flags: common}
	command := &cobra.Command{
		Use:   "rbac",
		Short: "Print the roles that these commands need",
		Long: `Rbac prints the roles that these commands need, and bindings to a user, or to the group "hypervisorctl". It names the
namespaces of the cluster's installation. It changes nothing: an administrator applies what it prints.`,
		Example: examples(name, "rbac --user alice | kubectl apply -f -"),
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return options.run(cmd.Context()) },
	}
	command.Flags().StringVar(&options.user, "user", "", `user to bind the roles to, instead of the group "hypervisorctl"`)
	return command
}

func (o *rbacOptions) run(ctx context.Context) error {
	if o.exporter == "" || o.relay == "" {
		if err := o.find(ctx); err != nil {
			return fmt.Errorf("find the installation (--exporter-namespace and --relay-namespace name it): %w", err)
		}
	}
	_, err := o.out.Filter().Write([]byte(rbac(o.exporter, o.relay, o.user)))
	return err
}

func (o *rbacOptions) find(ctx context.Context) error {
	s, err := o.connect()
	if err != nil {
		return err
	}
	return s.findInstallation(ctx)
}

// rbac returns the roles for the namespaces; without a relay, none for its namespace. Bindings to a user have names of their
// own, so that they do not replace another user's.
func rbac(exporter, relay, user string) string {
	const line, group = "\n  namespace: ", "  kind: Group\n  name: hypervisorctl\n"
	var kept []string
	for _, document := range strings.SplitAfter(rbacYAML, "---\n") {
		inRelay := strings.Contains(document, line+cluster.RelayNamespace+"\n")
		if inRelay && relay == "" {
			continue
		}
		if user != "" && strings.Contains(document, group) {
			quoted, _ := json.Marshal(user) // a string, which is YAML, too
			document = strings.Replace(document, group, "  kind: User\n  name: "+string(quoted)+"\n", 1)
			document = strings.Replace(document, "\n  name: hypervisorctl\n", "\n  name: hypervisorctl-"+digest(user)+"\n", 1)
		}
		from, to := cluster.ExporterNamespace, exporter
		if inRelay {
			from, to = cluster.RelayNamespace, relay
		}
		kept = append(kept, strings.ReplaceAll(document, line+from+"\n", line+to+"\n"))
	}
	return strings.TrimSuffix(strings.Join(kept, ""), "---\n")
}

// digest is short, and of characters that a name may have.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:10]
}

package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/spf13/cobra"
	"helm.sh/helm/v4/pkg/registry"
)

// pushCommands push what a release has made and name it for a signature, with the credentials of `docker login`.
func pushCommands() []*cobra.Command {
	var p published
	command := func(use, short string, do func(cmd *cobra.Command) error) *cobra.Command {
		command := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.read(); err != nil {
				return err
			}
			return do(cmd)
		}}
		command.Flags().StringVar(&p.folder, "from", "dist", "folder of the release")
		command.Flags().BoolVar(&p.plain, "plain-http", false, "the registry serves HTTP without TLS")
		return command
	}
	push := command("push", "Push the image and the chart of a release to its registry", func(cmd *cobra.Command) error {
		if err := p.pushImage(); err != nil {
			return fmt.Errorf("push the image: %w", withHint(err))
		}
		if err := p.pushChart(); err != nil {
			return fmt.Errorf("push the chart: %w", withHint(err))
		}
		return p.printReferences(cmd)
	})
	return []*cobra.Command{push, command("references", "Print the image and the chart in the registry by digest", p.printReferences)}
}

// withHint names the flag for a registry without TLS, in the form that make takes, if that is what the error is about.
func withHint(err error) error {
	if !errors.Is(err, http.ErrSchemeMismatch) {
		return err
	}
	return fmt.Errorf("%w (for a registry without TLS: make push ARGS=--plain-http)", err)
}

func (p *published) options() []name.Option {
	if p.plain {
		return []name.Option{name.Insecure}
	}
	return nil
}

var keychain = remote.WithAuthFromKeychain(authn.DefaultKeychain)

// printReferences prints what is to be signed, one a line.
func (p *published) printReferences(cmd *cobra.Command) error {
	chart, err := name.NewTag(p.chartTag(), p.options()...)
	if err != nil {
		return err
	}
	found, err := remote.Head(chart, keychain)
	if err != nil {
		return fmt.Errorf("find the chart (push pushes it): %w", withHint(err))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s@%s\n%s@%s\n", p.Image, p.Digest, p.ChartRepository, found.Digest)
	return err
}

// chartTag is the chart's version without its v, as Helm has it.
func (p *published) chartTag() string {
	return p.ChartRepository + ":" + strings.TrimPrefix(p.Version, "v")
}

// pushImage pushes the image under its tag.
func (p *published) pushImage() error {
	index, done, err := readArchive(filepath.Join(p.folder, imageArchive(p.Version)))
	if err != nil {
		return err
	}
	defer done()
	tag, err := name.NewTag(p.Image+":"+p.Version, p.options()...)
	if err != nil {
		return err
	}
	return remote.WriteIndex(tag, index, keychain)
}

// pushChart pushes the chart as Helm does.
func (p *published) pushChart() error {
	content, err := os.ReadFile(filepath.Join(p.folder, p.Chart))
	if err != nil {
		return err
	}
	var options []registry.ClientOption
	if p.plain {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	client, err := registry.NewClient(options...)
	if err != nil {
		return err
	}
	_, err = client.Push(content, p.chartTag())
	return err
}

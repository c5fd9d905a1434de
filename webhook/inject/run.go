package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Format is what Run prints pods as.
type Format string

// The formats that Run knows.
const (
	FormatYAML Format = "yaml"
	FormatJSON Format = "json"
)

// RunOptions are the flags of `webhook inject`.
type RunOptions struct {
	// Format of the output; empty means YAML.
	Format Format
	// Explain prints why each pod is or is not injected, instead of the pods.
	Explain bool
}

// Run is the command `webhook inject`: it reads YAML documents (or a JSON one), injects the
// pods in them, also those in lists, as the webhook would do in a labelled namespace, and
// writes them all to out. In YAML, documents without a pod that is injected pass through byte
// for byte, as do the lines between documents. Warnings go to warn.
//
// The first document that cannot be read or written ends it with an error. With Explain, input
// without a virt-launcher pod is an error, too, which says what the input holds.
func Run(cfg Config, in io.Reader, out, warn io.Writer, options RunOptions) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	switch options.Format {
	case "", FormatYAML, FormatJSON:
	default:
		return fmt.Errorf("output format %q: want yaml or json", options.Format)
	}
	input, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read pods: %w", err)
	}
	c := command{cfg: cfg, warn: warn, options: options}
	for i, text := range splitDocuments(input) {
		printed, err := c.document(text)
		if err == nil {
			_, err = out.Write(printed)
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	if options.Explain && c.launchers == 0 {
		return noLauncher(c.others)
	}
	return nil
}

type command struct {
	cfg     Config
	warn    io.Writer
	options RunOptions
	// launchers is the number of virt-launcher pods so far; others are the kinds of everything else.
	launchers int
	others    []string
}

// document returns what to print for one document.
func (c *command) document(text []byte) ([]byte, error) {
	d, err := readDocument(text)
	if err != nil {
		return nil, err
	}
	if c.options.Explain {
		return c.explain(d), nil
	}
	var patch []Operation
	for _, p := range d.pods {
		decision := Decide(c.cfg, p.pod)
		for _, w := range decision.Warnings {
			if _, err := fmt.Fprintf(c.warn, "pod %s: %s\n", podName(p.pod), w); err != nil {
				return nil, err
			}
		}
		for _, op := range decision.Patch {
			op.Path = p.at + op.Path
			patch = append(patch, op)
		}
	}
	asJSON := d.json
	if len(patch) > 0 {
		if asJSON, err = Apply(d.json, patch); err != nil {
			return nil, err
		}
	}
	switch {
	case c.options.Format == FormatJSON && string(asJSON) == "null":
		return nil, nil // only comments
	case c.options.Format == FormatJSON:
		var indented bytes.Buffer
		if err := json.Indent(&indented, asJSON, "", "  "); err != nil {
			return nil, fmt.Errorf("write JSON: %w", err)
		}
		return append(indented.Bytes(), '\n'), nil
	case len(patch) == 0:
		return text, nil
	}
	asYAML, err := yaml.JSONToYAML(asJSON)
	if err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return append(separator(text), asYAML...), nil
}

func (c *command) explain(d document) []byte {
	var explained []byte
	c.others = append(c.others, d.kinds...)
	for _, p := range d.pods {
		if p.pod.isLauncher() {
			c.launchers++
		} else {
			c.others = append(c.others, "another Pod")
		}
		explained = append(explained, Explain(c.cfg, p.pod)...)
	}
	return explained
}

// noLauncher says what the input holds instead of a virt-launcher pod, and what to give. It
// names each kind once, at most five of them.
func noLauncher(found []string) error {
	holds := "is empty"
	if kinds := slices.Compact(slices.Sorted(slices.Values(found))); len(kinds) > 0 {
		if len(kinds) > 5 {
			kinds = append(kinds[:5], "more")
		}
		holds = "holds " + strings.Join(kinds, ", ")
	}
	return fmt.Errorf("the input %s: no virt-launcher pod (label kubevirt.io=virt-launcher); "+
		"give the pod that KubeVirt made for the VM: kubectl get pods -n NAMESPACE -l kubevirt.io=virt-launcher -o yaml", holds)
}

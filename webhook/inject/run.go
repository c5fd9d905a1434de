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

// Run is the command `webhook inject`: it reads YAML documents (or a JSON one),
// injects the pods among them, also those in lists, as the webhook would do in a labelled namespace,
// and writes them all to out. Documents without pods, and those whose pods are left
// as they are, pass through byte for byte in YAML, as do the lines between documents. Warnings go to warn.
//
// The first document that cannot be read or written ends it with an error. With Explain, input without a
// virt-launcher pod is an error, too, that says what was found.
func Run(cfg Config, in io.Reader, out, warn io.Writer, options RunOptions) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	switch options.Format {
	case "", FormatYAML, FormatJSON:
	default:
		return fmt.Errorf("output format %q: want yaml or json", options.Format)
	}
	command := command{cfg: cfg, out: out, warn: warn, options: options}
	input, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read pods: %w", err)
	}
	for i, text := range splitDocuments(input) {
		if err := command.document(text); err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	if options.Explain && command.launchers == 0 {
		return noLauncher(command.others)
	}
	return nil
}

type command struct {
	cfg       Config
	out, warn io.Writer
	options   RunOptions
	// launchers is how many virt-launcher pods came by; others are the kinds of everything else.
	launchers int
	others    []string
}

func (c *command) document(text []byte) error {
	d, err := readDocument(text)
	if err != nil {
		return err
	}
	if c.options.Explain {
		return c.explain(d)
	}
	var patch []Operation
	for _, p := range d.pods {
		decision := Decide(c.cfg, p.pod)
		for _, w := range decision.Warnings {
			if _, err := fmt.Fprintf(c.warn, "pod %s: %s\n", podName(p.pod), w); err != nil {
				return err
			}
		}
		for _, op := range decision.Patch {
			op.Path = p.at + op.Path
			patch = append(patch, op)
		}
	}
	if len(patch) == 0 {
		return c.pass(text, d.json)
	}
	patched, err := Apply(d.json, patch)
	if err != nil {
		return err
	}
	patchedYAML, err := yaml.JSONToYAML(patched)
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return c.print(append(separator(text), patchedYAML...), patched)
}

func (c *command) explain(d document) error {
	c.others = append(c.others, d.kinds...)
	for _, p := range d.pods {
		if p.pod.Labels[labelKubeVirt] == launcherLabelValue {
			c.launchers++
		} else {
			c.others = append(c.others, "another Pod")
		}
		if err := c.write([]byte(Explain(c.cfg, p.pod))); err != nil {
			return err
		}
	}
	return nil
}

// noLauncher says what the input holds instead of a virt-launcher pod, and what to give.
func noLauncher(found []string) error {
	holds := "is empty"
	if len(found) > 0 {
		holds = "holds " + kinds(found)
	}
	return fmt.Errorf("the input %s: no virt-launcher pod (label kubevirt.io=virt-launcher); "+
		"give the pod that KubeVirt made for the VM: kubectl get pods -n NAMESPACE -l kubevirt.io=virt-launcher -o yaml", holds)
}

// kinds lists each kind once, at most five of them.
func kinds(found []string) string {
	distinct := slices.Compact(slices.Sorted(slices.Values(found)))
	if len(distinct) > 5 {
		distinct = append(distinct[:5], "more")
	}
	return strings.Join(distinct, ", ")
}

// pass hands a document on as it is; nothing is printed in JSON of one that holds nothing but comments.
func (c *command) pass(raw, asJSON []byte) error {
	if string(asJSON) == "null" && c.options.Format == FormatJSON {
		return nil
	}
	return c.print(raw, asJSON)
}

func (c *command) print(asYAML, asJSON []byte) error {
	if c.options.Format == FormatJSON {
		var indented bytes.Buffer
		if err := json.Indent(&indented, asJSON, "", "  "); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		return c.write(append(indented.Bytes(), '\n'))
	}
	return c.write(asYAML)
}

func (c *command) write(b []byte) error {
	_, err := c.out.Write(b)
	return err
}

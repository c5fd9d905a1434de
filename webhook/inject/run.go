package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

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
// injects the pods among them as the webhook would do in a labelled namespace,
// and writes them all to out. Documents that are no pods, and pods that are left
// as they are, pass through byte for byte in YAML, as do the lines between documents. Warnings go to warn.
//
// The first document that cannot be read or written ends it with an error.
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
	for i, document := range splitDocuments(input) {
		if err := command.document(document); err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	return nil
}

type command struct {
	cfg       Config
	out, warn io.Writer
	options   RunOptions
}

func (c *command) document(raw []byte) error {
	asJSON, pod, err := ReadPod(raw)
	switch {
	case err != nil:
		return err
	case pod == nil:
		return c.pass(raw, asJSON)
	case c.options.Explain:
		return c.write([]byte(Explain(c.cfg, pod)))
	default:
		return c.pod(raw, asJSON, pod)
	}
}

func (c *command) pod(raw, asJSON []byte, pod *Pod) error {
	decision := Decide(c.cfg, pod)
	for _, w := range decision.Warnings {
		if _, err := fmt.Fprintf(c.warn, "pod %s: %s\n", podName(pod), w); err != nil {
			return err
		}
	}
	if !decision.Injected() {
		return c.pass(raw, asJSON)
	}
	patched, err := Apply(asJSON, decision.Patch)
	if err != nil {
		return err
	}
	patchedYAML, err := yaml.JSONToYAML(patched)
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return c.print(append(separator(raw), patchedYAML...), patched)
}

// pass hands a document on as it is; nothing is printed of it when explaining,
// nor in JSON of one that holds nothing but comments.
func (c *command) pass(raw, asJSON []byte) error {
	comments := string(asJSON) == "null"
	if c.options.Explain || comments && c.options.Format == FormatJSON {
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

package inject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	yamlv3 "go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// document is one YAML or JSON document, and the pods in it.
type document struct {
	json []byte
	pods []placedPod
	// kinds are those of the objects that are not pods, for people.
	kinds []string
}

// placedPod is a pod and its place in the document, as the beginning of a JSON pointer.
type placedPod struct {
	at  string
	pod *Pod
}

// ReadPod reads one YAML or JSON document as a pod, typed and as JSON. If the document is
// something else, or empty, pod and err are nil.
func ReadPod(text []byte) (podJSON []byte, pod *Pod, err error) {
	d, err := readDocument(text)
	if err != nil {
		return nil, nil, err
	}
	if len(d.pods) == 1 && d.pods[0].at == "" {
		pod = d.pods[0].pod
	}
	return d.json, pod, nil
}

// readDocument reads as kubectl does (YAML 1.1). If what should be a pod is not one then, it
// tries YAML 1.2: to YAML 1.1 the bare annotation value y is a boolean, and writers such as
// PyYAML do not quote it.
func readDocument(text []byte) (document, error) {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return document{}, fmt.Errorf("read YAML: %w", err)
	}
	d, err := parseDocument(asJSON)
	if err == nil && len(d.pods) == 0 {
		return d, nil
	}
	// YAML allows a second document after the mark of a document's end. YAML libraries do not read
	// on, so it would be lost.
	if _, after, found := bytes.Cut(text, []byte("\n...")); found && len(bytes.TrimSpace(after)) > 0 {
		return document{}, errors.New("text after the end of a document (...): put --- between documents")
	}
	if err != nil {
		var newerErr error
		if asJSON, newerErr = newerYAMLToJSON(text); newerErr == nil {
			d, newerErr = parseDocument(asJSON)
		}
		if newerErr != nil {
			return document{}, err
		}
	}
	return d, nil
}

// parseDocument finds the pods: the document itself, or the items of a list such as
// `kubectl get pods -o yaml` prints.
func parseDocument(asJSON []byte) (document, error) {
	pod := metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	d := document{json: asJSON}
	kind := kindOf(asJSON)
	isPodList := kind == metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}
	switch {
	case kind == pod:
		return d, d.add("", asJSON)
	case isPodList, kind == metav1.TypeMeta{APIVersion: "v1", Kind: "List"}:
		var list struct {
			Items []json.RawMessage `json:"items"`
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &list); err != nil {
			return d, nil // not a list that an API server makes
		}
		for i, item := range list.Items {
			of := kindOf(item)
			if of != pod && (of.Kind != "" || !isPodList) {
				d.kinds = append(d.kinds, called(of))
			} else if err := d.add(fmt.Sprintf("/items/%d", i), item); err != nil {
				return d, fmt.Errorf("item %d: %w", i+1, err)
			}
		}
		if len(list.Items) == 0 {
			d.kinds = append(d.kinds, "an empty "+kind.Kind)
		}
	case string(asJSON) != "null":
		d.kinds = append(d.kinds, called(kind))
	}
	return d, nil
}

// add adds a pod that its user wrote: a wrong type in a field that Decide does not read is an
// error, too.
func (d *document) add(at string, podJSON []byte) error {
	pod, err := ParsePod(podJSON)
	if err == nil {
		if err = kjson.UnmarshalCaseSensitivePreserveInts(podJSON, &corev1.Pod{}); err != nil {
			err = fmt.Errorf("parse pod: %w", err)
		}
	}
	d.pods = append(d.pods, placedPod{at, pod})
	return err
}

// called names an object by its kind, which anyone may have written.
func called(object metav1.TypeMeta) string {
	if object.Kind == "" {
		return "something without a kind"
	}
	return quote(object.Kind)
}

// kindOf returns the kind that an object states, or nothing.
func kindOf(asJSON []byte) metav1.TypeMeta {
	var kind metav1.TypeMeta
	if kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &kind) != nil {
		return metav1.TypeMeta{}
	}
	return kind
}

// splitDocuments cuts a YAML stream before each line that starts a document. Joined, the parts
// are the stream again, byte for byte. (apimachinery's YAMLReader drops carriage returns and the
// comments of such lines.)
func splitDocuments(stream []byte) [][]byte {
	var documents [][]byte
	start, at := 0, 0
	for line := range bytes.Lines(stream) {
		if at > start && startsDocument(line) {
			documents = append(documents, stream[start:at])
			start = at
		}
		at += len(line)
	}
	return append(documents, stream[start:])
}

// startsDocument reports whether the first line is YAML's mark of a new document.
func startsDocument(text []byte) bool {
	rest, marked := bytes.CutPrefix(text, []byte("---"))
	return marked && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n"))
}

// separator returns what goes before a document that is written again: the line that it began
// with, unless that line holds a part of the document itself.
func separator(document []byte) []byte {
	if !startsDocument(document) {
		return nil
	}
	line, _, _ := bytes.Cut(document, []byte("\n"))
	if rest := bytes.TrimSpace(line[len("---"):]); len(rest) > 0 && rest[0] != '#' {
		return []byte("---\n")
	}
	return append(bytes.Clone(line), '\n')
}

// newerYAMLToJSON reads YAML 1.2. A bare date stays as it is written: JSON has no dates.
func newerYAMLToJSON(document []byte) ([]byte, error) {
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(document, &root); err != nil {
		return nil, err
	}
	timestampsToStrings(&root)
	var value any
	if err := root.Decode(&value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func timestampsToStrings(node *yamlv3.Node) {
	if node.Kind == yamlv3.ScalarNode && node.ShortTag() == "!!timestamp" {
		node.Tag = "!!str"
	}
	for _, child := range node.Content {
		timestampsToStrings(child)
	}
}

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

// ParsePod reads a pod's JSON leniently and exactly as the API server does:
// names are case-sensitive and unknown fields are passed over. Both matter to a
// patch, whose paths speak of the JSON and not of our types.
//
// It allocates at most 400 bytes for each JSON value and the text of the strings
// that Decide reads. The caller bounds both.
func ParsePod(podJSON []byte) (*Pod, error) {
	pod := &Pod{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(podJSON, pod); err != nil {
		return nil, fmt.Errorf("parse pod: %w", err)
	}
	if err := checkSecurity(pod); err != nil {
		return nil, fmt.Errorf("parse pod: %w", err)
	}
	return pod, nil
}

// parseWhole is ParsePod for a pod that its user wrote: a wrong type in a field that
// Decide does not read is an error, too.
func parseWhole(podJSON []byte) (*Pod, error) {
	pod, err := ParsePod(podJSON)
	if err != nil {
		return nil, err
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(podJSON, &corev1.Pod{}); err != nil {
		return nil, fmt.Errorf("parse pod: %w", err)
	}
	return pod, nil
}

// checkSecurity bounds the texts of a container that the sidecar takes over.
func checkSecurity(pod *Pod) error {
	const longestSELinux = 4096 // Linux: a security context is at most one page
	for i := range pod.Spec.Containers {
		sc := pod.Spec.Containers[i].SecurityContext
		if sc == nil {
			continue
		}
		if o := sc.SELinuxOptions; o != nil && len(o.User)+len(o.Role)+len(o.Type)+len(o.Level) > longestSELinux {
			return fmt.Errorf("seLinuxOptions of more than %d bytes", longestSELinux)
		}
		if p := sc.AppArmorProfile; p != nil && (len(p.Type) > longestAppArmor || p.LocalhostProfile != nil && len(*p.LocalhostProfile) > longestAppArmor) {
			return fmt.Errorf("appArmorProfile of more than %d bytes", longestAppArmor)
		}
	}
	return nil
}

// document is one YAML or JSON document, and the pods in it.
type document struct {
	json []byte
	pods []placedPod
	// kinds are those of the objects that are no pods, for people.
	kinds []string
}

// placedPod is a pod and where in its document it is, as the beginning of a JSON pointer.
type placedPod struct {
	at  string
	pod *Pod
}

// ReadPod reads one YAML or JSON document as a pod, typed and as JSON. Where
// the document is something else, or empty, pod is nil and err too.
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

// readDocument reads as kubectl does (YAML 1.1). Where that makes no pod of what should be one, YAML 1.2
// is tried: to YAML 1.1 the bare annotation value y is a boolean, and writers
// such as PyYAML do not quote it.
func readDocument(text []byte) (document, error) {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return document{}, fmt.Errorf("read YAML: %w", err)
	}
	d, err := parseDocument(asJSON)
	if err == nil && len(d.pods) == 0 {
		return d, nil
	}
	if err := checkSingle(text); err != nil {
		return document{}, err
	}
	if err == nil {
		return d, nil
	}
	newer, newerErr := newerYAMLToJSON(text)
	if newerErr != nil {
		return document{}, err
	}
	if d, newerErr = parseDocument(newer); newerErr != nil {
		return document{}, err
	}
	return d, nil
}

// parseDocument finds the pods: the document itself, or the items of a list such as `kubectl get pods -o yaml` prints.
func parseDocument(asJSON []byte) (document, error) {
	d := document{json: asJSON}
	kind := kindOf(asJSON)
	switch kind {
	case metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}:
		return d, d.add("", asJSON)
	case metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}:
		var list struct {
			Items []json.RawMessage `json:"items"`
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &list); err != nil {
			return d, nil // no list that an API server makes
		}
		for i, item := range list.Items {
			of := kindOf(item)
			if of.Kind == "" && kind.Kind == "PodList" || of == (metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}) {
				if err := d.add(fmt.Sprintf("/items/%d", i), item); err != nil {
					return d, fmt.Errorf("item %d: %w", i+1, err)
				}
				continue
			}
			d.kinds = append(d.kinds, called(of))
		}
		if len(list.Items) == 0 {
			d.kinds = append(d.kinds, "an empty "+kind.Kind)
		}
	default:
		if string(asJSON) != "null" {
			d.kinds = append(d.kinds, called(kind))
		}
	}
	return d, nil
}

func (d *document) add(at string, podJSON []byte) error {
	pod, err := parseWhole(podJSON)
	d.pods = append(d.pods, placedPod{at, pod})
	return err
}

// called names an object by its kind, which a stranger may have written.
func called(object metav1.TypeMeta) string {
	if object.Kind == "" {
		return "something without a kind"
	}
	return quote(object.Kind)
}

// kindOf is what an object calls itself; nothing where it does not.
func kindOf(asJSON []byte) metav1.TypeMeta {
	var kind metav1.TypeMeta
	if kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &kind) != nil {
		return metav1.TypeMeta{}
	}
	return kind
}

// splitDocuments cuts a YAML stream before each line that starts a document, so
// that the parts put together are the stream again, byte for byte. (apimachinery's
// YAMLReader drops carriage returns and the comments of such lines.)
func splitDocuments(stream []byte) [][]byte {
	var documents [][]byte
	start := 0
	for at := 0; at < len(stream); {
		if at > start && startsDocument(stream[at:]) {
			documents = append(documents, stream[start:at])
			start = at
		}
		newline := bytes.IndexByte(stream[at:], '\n')
		if newline < 0 {
			break
		}
		at += newline + 1
	}
	return append(documents, stream[start:])
}

// startsDocument says whether the first line is YAML's mark of a new document.
func startsDocument(text []byte) bool {
	rest, marked := bytes.CutPrefix(text, []byte("---"))
	return marked && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n"))
}

// separator is what goes before a document that is written anew: the line it
// began with, where that holds nothing of the document itself.
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

// checkSingle refuses a second document after the mark of a document's end,
// which YAML allows: YAML libraries do not read on, so that it would be lost.
func checkSingle(document []byte) error {
	_, after, found := bytes.Cut(document, []byte("\n..."))
	if found && len(bytes.TrimSpace(after)) > 0 {
		return errors.New("text after the end of a document (...): put --- between documents")
	}
	return nil
}

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

// timestampsToStrings keeps a bare date as it is written; JSON has no dates.
func timestampsToStrings(node *yamlv3.Node) {
	if node.Kind == yamlv3.ScalarNode && node.ShortTag() == "!!timestamp" {
		node.Tag = "!!str"
	}
	for _, child := range node.Content {
		timestampsToStrings(child)
	}
}

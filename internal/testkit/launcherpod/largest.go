// Package launcherpod makes virt-launcher pods as large as a webhook may get them.
package launcherpod

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Largest returns the JSON of the launcher pod with so much added to it that it has about that many
// bytes and JSON values, and is injected nevertheless: annotations up to the API server's limit,
// managedFields as deep as they get, and hundreds of containers with ports, quantities, environment,
// security contexts and long, incompressible paths. Its content costs a reader more than padding.
func Largest(pod []byte, bytes, values int) ([]byte, error) {
	var object map[string]any
	if err := json.Unmarshal(pod, &object); err != nil {
		return nil, err
	}
	metadata, spec := object["metadata"].(map[string]any), object["spec"].(map[string]any)
	annotations := metadata["annotations"].(map[string]any)
	for i := range 200 {
		annotations[fmt.Sprintf("example.com/%d", i)] = text(1000)
	}
	const each, rest = 78, 700 // values of a container and its managedFields, and of all else
	containers := (values - rest) / each
	fill := (bytes - 450_000) / containers
	var managed []any
	list := spec["containers"].([]any)
	for i := range containers {
		managed = append(managed, managedFields(i))
		list = append(list, container(i, fill-2200))
	}
	metadata["managedFields"], spec["containers"] = managed, list
	return json.Marshal(object)
}

// managedFields are nested as those of a pod's environment.
func managedFields(i int) any {
	var fields any = map[string]any{}
	for level := range 12 {
		fields = map[string]any{fmt.Sprintf(`f:k{"name":"%d-%d"}`, i, level): fields, ".": map[string]any{}}
	}
	return map[string]any{"manager": text(20), "operation": "Update", "fieldsV1": fields}
}

func container(i, fill int) any {
	quantities := map[string]any{"cpu": "0.123456789012345678901234567890123456", "memory": "12345678901234567.123456789m"}
	return map[string]any{
		"name": fmt.Sprintf("c-%d", i), "image": "registry.example/" + text(200),
		"env":       []any{map[string]any{"name": "A", "value": text(1000)}, map[string]any{"name": "B", "value": strings.Repeat(`"\`, 100)}},
		"ports":     []any{map[string]any{"containerPort": 1000 + i, "protocol": "UDP"}},
		"resources": map[string]any{"requests": quantities, "limits": quantities},
		"securityContext": map[string]any{
			"runAsUser": 107, "runAsNonRoot": true,
			"seLinuxOptions":  map[string]any{"level": "s0:c1,c2", "type": text(20)},
			"appArmorProfile": map[string]any{"type": "Localhost", "localhostProfile": text(20)},
		},
		"volumeMounts": []any{
			map[string]any{"name": "public", "mountPath": "/" + text(fill/2) + `\"`},
			map[string]any{"name": "private", "mountPath": "/" + text(fill/2)},
		},
	}
}

// text is random: nothing compresses it, or keeps only one copy.
func text(length int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := make([]byte, length)
	for i := range b {
		b[i] = alphabet[rand.IntN(len(alphabet))]
	}
	return string(b)
}

package dashboards

import "strings"

// Expand puts values in place of Grafana's variables; an empty one means all.
func Expand(expr, namespace, node string) string {
	if namespace == "" {
		namespace = ".*"
	}
	if node == "" {
		node = ".*"
	}
	return strings.NewReplacer("$namespace", namespace, "$node", node, "$__rate_interval", "5m").Replace(expr)
}

// Package rules is the source of the product's alerts and recording rules. Its test writes the PrometheusRules of the
// manifests and the tables of docs/alerts.md.
package rules

// Package rules is the one source of the product's alerts and recording rules.
// Its tests write manifests/monitoring/prometheusrule.yaml, the rules file for a
// Prometheus without the operator, and docs/alerts.md from it.
package rules

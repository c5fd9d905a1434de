// Package manifests has those of the manifests that a program compares a cluster with.
package manifests

import _ "embed"

// WebhookConfiguration is the webhook's registration, in YAML.
//
//go:embed base/mutatingwebhookconfiguration.yaml
var WebhookConfiguration []byte

//go:build tools

// Package programs names what is built of this module.
package programs

import _ "k8s.io/kube-state-metrics/v2"

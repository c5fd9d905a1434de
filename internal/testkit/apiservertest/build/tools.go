//go:build tools

// Package build pins the kube-apiserver that package apiservertest builds and starts.
// It is a module of its own, so that Kubernetes' dependencies never become ours.
package build

import _ "k8s.io/kubernetes/cmd/kube-apiserver"

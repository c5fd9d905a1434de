// Package acceptance tests the relay's binary as it runs on a node: uid 0 without a
// capability, a read-only view of the kubelet's folder, the sidecar's binary in pods
// with networks as KubeVirt makes them, and a real API server.
package acceptance

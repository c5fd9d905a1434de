// Package podsocket turns a pod's uid into a connection to the Unix socket that
// the pod's sidecar listens on, in an emptyDir below the kubelet's folder.
//
// What is in that emptyDir is the tenant's to choose, and may change at any
// moment. So nothing there is opened for reading or writing, no link is followed,
// and what was found is what is connected to: see [Pods.Open].
package podsocket

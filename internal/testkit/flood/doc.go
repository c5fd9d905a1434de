// Package flood attacks the product's programs as strangers on the pod network can, while
// honest clients work beside. The programs are the real binaries, in cgroups with the
// memory limits and Go variables that the manifests give their containers.
package flood

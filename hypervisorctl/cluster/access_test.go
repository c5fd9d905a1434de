package cluster

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The messages are those of an API server 1.36, but for the names.
func TestAccess(t *testing.T) {
	const endpoints = "endpointslices.discovery.k8s.io"
	for name, test := range map[string]struct{ group, resource, name, message, want string }{
		"a list of a namespace": {"discovery.k8s.io", "endpointslices", "", `User "a" cannot list resource "endpointslices" in API group "discovery.k8s.io" in the namespace "shop"`,
			"you may not list " + endpoints + " in the namespace shop (try: kubectl auth can-i list " + endpoints + " -n shop)"},
		"of all namespaces": {"", "pods", "", `User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope`,
			"you may not list pods (try: kubectl auth can-i list pods -A)"},
		"an object without a namespace": {"", "nodes", "n", `User "a" cannot get resource "nodes" in API group "" at the cluster scope: why not`,
			"you may not get nodes/n (try: kubectl auth can-i get nodes/n)"},
		"a subresource": {"", "pods", "web", `User "a" cannot get resource "pods/log" in API group "" in the namespace "shop"`,
			"you may not get pods/web --subresource=log in the namespace shop (try: kubectl auth can-i get pods/web --subresource=log -n shop)"},
		"a URL":                              {"", "", "", `User "a" cannot get path "/metrics"`, "you may not get /metrics (try: kubectl auth can-i get /metrics)"},
		"a quota, which is no missing right": {"", "pods", "web", "exceeded quota: q", ""},
		"what a policy writes":               {"", "pods", "web", "a User cannot do this", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := apierrors.NewForbidden(schema.GroupResource{Group: test.group, Resource: test.resource}, test.name, errors.New(test.message))
			got := access(err)
			require.Equal(t, test.want != "", IsDenied(got))
			require.ErrorIs(t, got, err)
			if test.want != "" {
				require.EqualError(t, got, test.want)
			}
		})
	}
	require.NoError(t, access(nil))
	require.ErrorContains(t, access(apierrors.NewUnauthorized("expired")), "log in again")
	require.False(t, IsDenied(access(apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "web"))))
}

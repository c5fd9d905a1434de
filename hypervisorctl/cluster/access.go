package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// AccessError is a right that the user does not have.
type AccessError struct {
	Verb        string
	Resource    schema.GroupResource
	Subresource string
	// Namespace is empty for all namespaces, and for cluster-scoped resources.
	Namespace string
	// Name is empty for a list.
	Name string
	err  error
}

// Error names the right that is missing and the command that shows it.
func (e *AccessError) Error() string {
	return fmt.Sprintf("you may not %s (try: %s)", e.what(), e.CanI())
}

// CanI is the kubectl command that checks the same right.
func (e *AccessError) CanI() string {
	words := []string{"kubectl auth can-i", e.Verb, e.resource()}
	switch {
	case e.Namespace != "":
		words = append(words, "-n", e.Namespace)
	case e.Name == "":
		words = append(words, "-A")
	}
	return strings.Join(words, " ")
}

// Unwrap returns the API server's error.
func (e *AccessError) Unwrap() error { return e.err }

func (e *AccessError) what() string {
	text := e.Verb + " " + e.resource()
	if e.Namespace != "" {
		text += " in the namespace " + e.Namespace
	}
	return text
}

func (e *AccessError) resource() string {
	resource := e.Resource.String()
	if e.Name != "" {
		resource += "/" + e.Name
	}
	if e.Subresource != "" {
		resource += " --subresource=" + e.Subresource
	}
	return resource
}

// access makes an AccessError of a missing right, and adds to other errors what was tried. Nil stays nil.
func access(err error, verb string, resource schema.GroupResource, subresource, namespace, name string) error {
	attempt := &AccessError{Verb: verb, Resource: resource, Subresource: subresource, Namespace: namespace, Name: name, err: err}
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err) && denied(err):
		return attempt
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the API server does not know you: log in again (kubectl auth whoami): %w", attempt.what(), err)
	default:
		return fmt.Errorf("%s: %w", attempt.what(), err)
	}
}

// denied says whether an authorizer refused. Admission plugins (quota, Pod Security) have the same status code; only an
// authorizer names the user (k8s.io/apiserver responsewriters.ForbiddenMessage).
func denied(err error) bool {
	return strings.Contains(err.Error(), " cannot ") && strings.Contains(err.Error(), "User ")
}

// IsDenied says whether an error is a missing right.
func IsDenied(err error) bool {
	var missing *AccessError
	return errors.As(err, &missing)
}

// May asks the API server whether the user has a right. Every authenticated user may ask (ClusterRole system:basic-user).
func (c *Cluster) May(ctx context.Context, verb, resource, subresource, namespace string) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Resource: resource, Subresource: subresource, Namespace: namespace},
	}}
	answer, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask which rights you have: %w", err)
	}
	return answer.Status.Allowed, nil
}

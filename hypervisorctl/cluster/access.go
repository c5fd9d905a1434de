package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// AccessError is a right that the user does not have.
type AccessError struct {
	// right is a verb and an object, as kubectl auth can-i takes them.
	right string
	// namespace is empty for all namespaces, and for cluster-scoped resources; then list is a list.
	namespace string
	list      bool
	err       error
}

// Error names the right that is missing and the command that shows it.
func (e *AccessError) Error() string {
	what := e.right
	if e.namespace != "" {
		what += " in the namespace " + e.namespace
	}
	return fmt.Sprintf("you may not %s (try: kubectl auth can-i %s)", what, e.Right())
}

// Right is the right that is missing, as the arguments of kubectl auth can-i.
func (e *AccessError) Right() string {
	switch {
	case e.namespace != "":
		return e.right + " -n " + e.namespace
	case e.list:
		return e.right + " -A"
	default:
		return e.right
	}
}

// Unwrap returns the API server's error.
func (e *AccessError) Unwrap() error { return e.err }

// denied is what an authorizer writes (k8s.io/apiserver responsewriters.ForbiddenMessage). Admission plugins (quota, Pod
// Security) have the same status code, but do not name the user and the verb.
var denied = regexp.MustCompile(`User ".*" cannot (\S+) resource "([^"/]*)/?([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)")?`)

// deniedPath is the same for a URL that is no resource.
var deniedPath = regexp.MustCompile(`User ".*" cannot (\S+) path "([^"]*)"`)

// access returns an AccessError for a missing right, and other errors with what to do if anything is known. Nil stays nil.
func access(err error) error {
	if apierrors.IsUnauthorized(err) {
		return fmt.Errorf("the API server does not know you: log in again (kubectl auth whoami): %w", err)
	}
	var status apierrors.APIStatus
	if !apierrors.IsForbidden(err) || !errors.As(err, &status) {
		return err
	}
	if found := deniedPath.FindStringSubmatch(err.Error()); found != nil {
		return &AccessError{right: found[1] + " " + found[2], err: err}
	}
	found := denied.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	verb, resource, subresource, group, namespace := found[1], found[2], found[3], found[4], found[5]
	right, name := verb+" "+strings.TrimSuffix(resource+"."+group, "."), ""
	if details := status.Status().Details; details != nil && details.Name != "" {
		name = details.Name
		right += "/" + name
	}
	if subresource != "" {
		right += " --subresource=" + subresource
	}
	return &AccessError{right, namespace, name == "", err}
}

// IsDenied reports whether an error is a missing right.
func IsDenied(err error) bool {
	var missing *AccessError
	return errors.As(err, &missing)
}

// MayServiceAccount reports whether a ServiceAccount has a right: to a resource or, if that is nil, to a URL. The user needs the
// right to create SubjectAccessReviews.
func (c *Cluster) MayServiceAccount(
	ctx context.Context, namespace, name string, resource *authorizationv1.ResourceAttributes, url *authorizationv1.NonResourceAttributes,
) (bool, error) {
	// The groups of every ServiceAccount (k8s.io/apiserver pkg/authentication/serviceaccount: UserInfo).
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + namespace + ":" + name,
		Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		ResourceAttributes: resource, NonResourceAttributes: url,
	}}
	answer, err := c.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, access(err)
	}
	return answer.Status.Allowed, nil
}

// read returns the answer of a pod's subresource, and an error if it has more than largestPage bytes.
func read(ctx context.Context, request rest.ResponseWrapper, pod string) ([]byte, error) {
	stream, err := request.Stream(ctx)
	if err != nil {
		return nil, access(err)
	}
	defer func() { _ = stream.Close() }() // nothing was written
	content, err := io.ReadAll(io.LimitReader(stream, largestPage+1))
	if err == nil && len(content) > largestPage {
		err = fmt.Errorf("the answer of pod %s has more than %d bytes", pod, largestPage)
	}
	return content, err
}

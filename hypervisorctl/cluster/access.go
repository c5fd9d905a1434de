package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// AccessError is a right that the user does not have.
type AccessError struct {
	// what the user may not do; the arguments of kubectl auth can-i that check the same right.
	what, canI string
	err        error
}

// Error names the right that is missing and the command that shows it.
func (e *AccessError) Error() string {
	return fmt.Sprintf("you may not %s (try: kubectl auth can-i %s)", e.what, e.canI)
}

// Unwrap returns the API server's error.
func (e *AccessError) Unwrap() error { return e.err }

// access returns an AccessError for a missing right, and adds to other errors what was tried. Nil stays nil. Namespace is
// empty for all namespaces, and for cluster-scoped resources; name is empty for a list.
func access(err error, verb string, resource schema.GroupResource, subresource, namespace, name string) error {
	what := verb + " " + resource.String()
	if name != "" {
		what += "/" + name
	}
	if subresource != "" {
		what += " --subresource=" + subresource
	}
	canI := what
	switch {
	case namespace != "":
		what, canI = what+" in the namespace "+namespace, canI+" -n "+namespace
	case name == "":
		canI += " -A"
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err) && denied(err):
		return &AccessError{what, canI, err}
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the API server does not know you: log in again (kubectl auth whoami): %w", what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// denied reports whether an authorizer refused. Admission plugins (quota, Pod Security) have the same status code; only
// an authorizer names the user (k8s.io/apiserver responsewriters.ForbiddenMessage).
func denied(err error) bool {
	return strings.Contains(err.Error(), " cannot ") && strings.Contains(err.Error(), "User ")
}

// IsDenied reports whether an error is a missing right.
func IsDenied(err error) bool {
	var missing *AccessError
	return errors.As(err, &missing)
}

// read returns the answer of a pod's subresource, and an error if it has more than largestPage bytes.
func read(ctx context.Context, request rest.ResponseWrapper, pod *corev1.Pod, subresource string) ([]byte, error) {
	stream, err := request.Stream(ctx)
	if err != nil {
		return nil, access(err, "get", corev1.Resource("pods"), subresource, pod.Namespace, pod.Name)
	}
	defer func() { _ = stream.Close() }() // nothing was written
	content, err := io.ReadAll(io.LimitReader(stream, largestPage+1))
	if err == nil && len(content) > largestPage {
		err = fmt.Errorf("the answer of pod %s has more than %d bytes", pod.Name, largestPage)
	}
	return content, err
}

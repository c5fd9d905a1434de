package main

import (
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// token is the scraper's, about as long as a service account's.
var token = strings.Repeat("t", 1000)

// A reviewer answers for the API server: the token's owner may do everything.
type reviewer struct {
	server *httptest.Server
	// account is a folder as the kubelet mounts a service account's.
	account string
	asked   atomic.Int64
}

// newReviewer starts one and writes the folder. It must be closed.
func newReviewer(account string) (*reviewer, error) {
	r := &reviewer{account: account}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", r.reviewToken)
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", r.reviewAccess)
	r.server = httptest.NewTLSServer(mux)
	if err := r.writeAccount(); err != nil {
		r.server.Close()
		return nil, err
	}
	return r, nil
}

func (r *reviewer) writeAccount() error {
	if err := os.Mkdir(r.account, 0o700); err != nil {
		return err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(r.account, "ca.crt"), authority, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.account, "token"), []byte("relay"), 0o600)
}

func (r *reviewer) reviewToken(w http.ResponseWriter, request *http.Request) {
	r.asked.Add(1)
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Status.Authenticated = review.Spec.Token == token
	review.Status.User.Username = "system:serviceaccount:bench:prometheus"
	answer(w, review)
}

func (r *reviewer) reviewAccess(w http.ResponseWriter, request *http.Request) {
	r.asked.Add(1)
	var review authorizationv1.SubjectAccessReview
	if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Status.Allowed = true
	answer(w, review)
}

func answer(w http.ResponseWriter, review any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(review) // the relay says so if it has not come
}

// mounted puts the folder where a pod finds its service account, and the address of
// the API server into the environment, for a command that it returns.
func (r *reviewer) mounted(command ...string) ([]string, error) {
	at, err := url.Parse(r.server.URL)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(at.Host)
	if err != nil {
		return nil, err
	}
	const script = `set -eu
mount -t tmpfs tmpfs /run; mkdir -p /run/secrets/kubernetes.io/serviceaccount
mount --bind "$1" /run/secrets/kubernetes.io/serviceaccount
shift; exec "$@"`
	before := []string{"env", "KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port, "unshare", "--mount", "sh", "-c", script, "sh", r.account}
	return append(before, command...), nil
}

func (r *reviewer) close() { r.server.Close() }

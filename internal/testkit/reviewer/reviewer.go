// Package reviewer answers token and access reviews in place of the API server. A program
// finds it as it finds the API server in a pod.
package reviewer

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
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// Token is the scraper's, about as long as a service account's. Its owner may do
// everything, the owner of another nothing.
func Token() string { return strings.Repeat("t", 1000) }

// A Reviewer answers reviews, and 404 to anything else.
type Reviewer struct {
	server *httptest.Server
	// account is a folder as the kubelet mounts a service account's.
	account string
	slow    time.Duration
	asked   atomic.Int64
	renewed atomic.Bool
}

// New starts a Reviewer and writes the folder of a service account, which must not
// exist. It takes slow for a token that it does not know. It must be closed.
func New(account string, slow time.Duration) (*Reviewer, error) {
	r := &Reviewer{account: account, slow: slow}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", r.authenticated(r.reviewToken))
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", r.authenticated(r.reviewAccess))
	r.server = httptest.NewTLSServer(mux)
	if err := r.writeAccount(); err != nil {
		r.server.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reviewer) writeAccount() error {
	if err := os.Mkdir(r.account, 0o700); err != nil {
		return err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(r.account, "ca.crt"), authority, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.account, "token"), []byte("relay"), 0o600)
}

func (r *Reviewer) reviewToken(w http.ResponseWriter, request *http.Request) {
	r.asked.Add(1)
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Status.Authenticated = review.Spec.Token == Token()
	if !review.Status.Authenticated {
		select {
		case <-time.After(r.slow):
		case <-request.Context().Done():
		}
	}
	review.Status.User.Username = "system:serviceaccount:bench:prometheus"
	answer(w, review)
}

func (r *Reviewer) reviewAccess(w http.ResponseWriter, request *http.Request) {
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

// Renew writes another token for the program's account. From now on the reviewer answers 401 to the previous one.
func (r *Reviewer) Renew() error {
	file := filepath.Join(r.account, "token")
	if err := os.WriteFile(file+".new", []byte("renewed"), 0o600); err != nil {
		return err
	}
	r.renewed.Store(true)
	return os.Rename(file+".new", file)
}

// authenticated answers 401 unless the program sends the token of its account.
func (r *Reviewer) authenticated(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		token := "Bearer relay"
		if r.renewed.Load() {
			token = "Bearer renewed"
		}
		if request.Header.Get("Authorization") != token {
			http.Error(w, "another token is needed", http.StatusUnauthorized)
			return
		}
		next(w, request)
	}
}

// Asked is how many reviews were asked for.
func (r *Reviewer) Asked() int64 { return r.asked.Load() }

// Mounted puts the folder where a pod finds its service account, and the address of
// the API server into the environment, for a command that it returns.
func (r *Reviewer) Mounted(command ...string) ([]string, error) {
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

// Close stops answering.
func (r *Reviewer) Close() { r.server.Close() }

package main

import (
	"context"
	"encoding/json"
	"io"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"net/http"
	"os"
	"os/exec"
	"strconv"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
)

// yardstickCommand is the hidden command that serves a yardstick. A yardstick is a process of its own, as the
// program beside it is, so that it shares no heap with the clients.
const yardstickCommand = "yardstick"

// startYardstick starts this program again, as the yardstick of the relay if there is a page, else of the webhook.
// The server's header, body and want are set.
func (b *bench) startYardstick(ctx context.Context, s *server, pair keyPair, page ...string) (*server, error) {
	address, err := testkit.Address()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	run := exec.Command(self, append([]string{yardstickCommand, address, pair.cert, pair.key}, page...)...)
	if len(page) > 0 {
		run.Env = append(os.Environ(), relayEnvironment)
	}
	s.client, s.url = pair.client(), func(int) string { return "https://" + address + "/" }
	return b.launch(ctx, s, run)
}

// serveYardstick serves until it is killed.
func serveYardstick(address, cert, key string, pages []string) error {
	handler := http.HandlerFunc(decodeAndAllow)
	for _, file := range pages {
		page, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		handler = answerPage(page)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{Addr: address, Handler: handler, Protocols: protocols}
	return server.ListenAndServeTLS(cert, key)
}

// answerPage answers everything with the same page, which is compressed.
func answerPage(page []byte) http.HandlerFunc {
	length := strconv.Itoa(len(page))
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(page) // the client may have gone
	}
}

// decodeAndAllow decodes a review and its pod, and allows it: the least that a mutating webhook on net/http does.
func decodeAndAllow(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var review admissionv1.AdmissionReview
	var pod corev1.Pod
	if err == nil {
		err = json.Unmarshal(body, &review)
	}
	if err == nil {
		err = json.Unmarshal(review.Request.Object.Raw, &pod)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{
		TypeMeta: review.TypeMeta,
		Response: &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true},
	})
}

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/admission"
)

// target is a running server.
type target struct {
	url     string
	process *exec.Cmd
}

func (t *target) stop() {
	_ = t.process.Process.Signal(syscall.SIGKILL)
	_ = t.process.Wait()
}

// resident is the process's VmRSS in bytes.
func (t *target) resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmRSS in /proc: this runs on Linux only")
}

// build makes the stripped binary as the image has it.
func build(ctx context.Context, dir string) (binary string, size int64, err error) {
	binary = filepath.Join(dir, "webhook")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./webhook")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("build the webhook: %w\n%s", err, output)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return "", 0, err
	}
	return binary, info.Size(), nil
}

func startWebhook(ctx context.Context, binary string, pair keyPair) (*target, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	process := exec.CommandContext(ctx, binary, "serve", "--sidecar-image=registry.example/hypervisor-exporter:v1.2.3",
		"--bind-address=127.0.0.1", "--secure-port="+port,
		"--tls-cert-file="+pair.certFile, "--tls-private-key-file="+pair.keyFile,
		"--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0", "--log-level=warn")
	process.Stderr = os.Stderr
	return start(ctx, process, port, admission.Path)
}

// startYardstick starts this program again as the yardstick: in a process of
// its own, as the webhook is, so that neither shares a heap with the client.
func startYardstick(ctx context.Context, pair keyPair) (*target, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process := exec.CommandContext(ctx, self, "--yardstick=127.0.0.1:"+port, "--cert="+pair.certFile, "--key="+pair.keyFile)
	process.Stderr = os.Stderr
	return start(ctx, process, port, "/")
}

func start(ctx context.Context, process *exec.Cmd, port, path string) (*target, error) {
	if err := process.Start(); err != nil {
		return nil, err
	}
	t := &target{url: "https://127.0.0.1:" + port + path, process: process}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		// A whole handshake: one broken off would be logged. Nothing is trusted.
		dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}
		conn, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:"+port)
		if err == nil {
			return t, conn.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.stop()
	return nil, fmt.Errorf("%s does not listen", process.Path)
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}

// serveYardstick decodes a review and its pod, and allows: what any mutating
// webhook on plain net/http does at least.
func serveYardstick(address, certFile, keyFile string) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Addr: address, Handler: http.HandlerFunc(yardstick), Protocols: protocols,
		ReadHeaderTimeout: 5 * time.Second,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13},
	}
	return server.ListenAndServeTLS(certFile, keyFile)
}

func yardstick(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var review admissionv1.AdmissionReview
	var pod corev1.Pod
	if err = json.Unmarshal(body, &review); err == nil {
		err = json.Unmarshal(review.Request.Object.Raw, &pod)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: review.TypeMeta,
		Response: &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true},
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

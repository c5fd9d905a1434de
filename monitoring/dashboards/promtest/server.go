package promtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long a busy machine may take to start a Prometheus.
const patience = 4 * time.Minute

// Server is a running Prometheus of Debian's package.
type Server struct {
	URL string
	// End is where the fleet's history ends; zero where there is none.
	End time.Time

	command *exec.Cmd
	log     bytes.Buffer
}

// Start writes the history into dir, the recorded series of the rules file included,
// and serves it until Stop.
func Start(ctx context.Context, dir string, rules []byte) (*Server, error) {
	if err := installed("promtool"); err != nil {
		return nil, err
	}
	end := time.Now().Truncate(Step)
	page, rulesFile := filepath.Join(dir, "fleet.om"), filepath.Join(dir, "rules.yaml")
	for path, content := range map[string][]byte{page: history(end), rulesFile: rules, filepath.Join(dir, "prometheus.yml"): nil} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	if err := promtool(ctx, "tsdb", "create-blocks-from", "openmetrics", page, data); err != nil {
		return nil, err
	}
	// The rules are computed by a Prometheus that has the history, and read by the next.
	first, err := Serve(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	err = promtool(ctx, "tsdb", "create-blocks-from", "rules", "--url="+first.URL, "--output-dir="+data, "--eval-interval="+Step.String(),
		fmt.Sprintf("--start=%d", end.Add(-History).Unix()), fmt.Sprintf("--end=%d", end.Unix()), rulesFile)
	first.Stop()
	if err != nil {
		return nil, err
	}
	server, err := Serve(ctx, dir, nil)
	if err == nil {
		server.End = end
	}
	return server, err
}

func installed(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%w; install it with: apt-get install -y --no-install-recommends prometheus", err)
	}
	return nil
}

func history(end time.Time) []byte {
	var out strings.Builder
	vms := fleet()
	for i := range samples + 1 {
		at := end.Add(-History + time.Duration(i)*Step).Unix()
		for _, one := range vms {
			one.write(&out, i, at)
		}
		writeControl(&out, i, at)
	}
	out.WriteString("# EOF\n")
	return []byte(out.String())
}

func promtool(ctx context.Context, arguments ...string) error {
	output, err := exec.CommandContext(ctx, "promtool", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("promtool %s: %w: %s", strings.Join(arguments, " "), err, output)
	}
	return nil
}

// Serve starts a Prometheus with the file prometheus.yml and the data in dir, and waits until
// it is ready. Configure writes that file, knowing the address; nil if it is there. The caller
// must stop the server.
func Serve(ctx context.Context, dir string, configure func(address string) error) (*Server, error) {
	if err := installed("prometheus"); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if configure != nil {
		if err := configure(address); err != nil {
			return nil, err
		}
	}
	s := &Server{URL: "http://" + address}
	s.command = exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	s.command.Stdout, s.command.Stderr = &s.log, &s.log
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start prometheus: %w", err)
	}
	if err := s.awaitReady(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("%w; its log:\n%s", err, s.log.String())
	}
	return s, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}

func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		response, err := http.Get(s.URL + "/-/ready")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("prometheus did not become ready: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// LogTail is the end of its log. It may be called after Stop.
func (s *Server) LogTail() string {
	log := s.log.Bytes()
	return string(log[max(0, len(log)-3000):])
}

// Stop ends the Prometheus and waits for it.
func (s *Server) Stop() {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	_ = s.command.Wait()
}

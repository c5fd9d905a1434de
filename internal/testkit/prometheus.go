package testkit

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"
)

// StartPrometheus starts the Prometheus of Debian's package in a folder that has its configuration, prometheus.yml, and keeps
// its series in the folder data there. It returns once Prometheus is ready at the address.
func StartPrometheus(ctx context.Context, folder, address string, arguments ...string) (*Process, error) {
	process, err := Start(filepath.Join(folder, "log"), exec.Command("prometheus", append([]string{
		"--config.file=" + filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(folder, "data"), "--web.listen-address=" + address,
	}, arguments...)...))
	if err != nil {
		return nil, fmt.Errorf("prometheus (apt-get install -y --no-install-recommends prometheus): %w", err)
	}
	for began := time.Now(); !ready(ctx, "http://"+address); {
		select {
		case <-process.Ended():
			return nil, fmt.Errorf("prometheus has ended:\n%s", process.LogTail())
		case <-ctx.Done():
			process.Kill()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(began) > Patience {
			process.Kill()
			return nil, fmt.Errorf("prometheus is not ready:\n%s", process.LogTail())
		}
	}
	return process, nil
}

func ready(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/-/ready", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

// Relay carries Prometheus' scrapes to the sidecars of the VMs on its node, over
// the Unix sockets in their pods. It knows no metric and no libvirt: the way is
// request → pod uid → opened socket → bytes.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
)

// serviceAccount is where the kubelet mounts the pod's service account.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

func run(args []string, stderr io.Writer) int {
	options, err := parse(args, stderr)
	if err != nil {
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	logger := promslog.New(&options.log)
	logger.Info("starting", "version", version.Info(), "build", version.BuildContext())
	if err := serve(ctx, options, logger); err != nil {
		fmt.Fprintf(stderr, "relay: error: %v\n", err)
		return 1
	}
	logger.Info("stopped")
	return 0
}

// drain is how long scrapes under way may go on after SIGTERM. Most take a
// millisecond; the kubelet's patience is 30 s.
const drain = 5 * time.Second

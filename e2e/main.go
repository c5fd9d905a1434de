// E2e brings up a real Kubernetes with real KubeVirt and Prometheus on one machine, installs the product and checks
// its promises.
//
//	e2e up     start the cluster and install everything; prints the kubeconfig
//	e2e test   up, run the checks, down; arguments go to go test, as in: e2e test -run TestStart
//	e2e down   end it and remove everything
//
// README.md lists the environment variables.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

var errUsage = errors.New("usage: e2e up | test [go test's flags] | down")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	lab, err := newLab()
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		if err := lab.up(ctx); err != nil {
			return lab.end(ctx, err)
		}
		fmt.Printf("The cluster is up: export KUBECONFIG=%s\n", lab.node.Kubeconfig())
		return nil
	case "test":
		return lab.test(ctx, args[1:])
	case "down":
		return lab.down(ctx)
	}
	return errUsage
}

// Hypervisorctl shows which hypervisor each KubeVirt VM runs on, why, and why a VM has no metric. As kubectl-hypervisor on
// the PATH it is the plugin "kubectl hypervisor".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"kubevirt-hypervisor-exporter/hypervisorctl/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := command.Run(ctx, streams, os.Args)
	stop()
	os.Exit(code)
}

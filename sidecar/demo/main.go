// Demo starts a real VM under a real libvirt, with the sidecar beside it as in a
// virt-launcher pod, and shows what the sidecar serves.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

func main() {
	once := flag.Bool("once", false, "print the metrics and exit")
	binary := flag.String("sidecar", "bin/sidecar", "the sidecar's binary")
	address := flag.String("address", "127.0.0.1:9477", "where the sidecar listens")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, *binary, *address, *once); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, binary, address string, once bool) (err error) {
	fmt.Println("Starting libvirt …")
	daemon, err := libvirttest.Start(ctx, libvirttest.Options{})
	if err != nil {
		return err
	}
	defer daemon.Close()

	guest := libvirttest.Guest{Namespace: "default", Name: "demo", Type: libvirttest.TCG}
	if libvirttest.HaveKVM() == nil {
		guest.Type = libvirttest.KVM
	}
	fmt.Printf("Starting VM %s/%s (domain type %s) …\n", guest.Namespace, guest.Name, guest.Type)
	if _, err := daemon.Run(ctx, guest); err != nil {
		return err
	}

	sidecar := command(binary, address, daemon, guest)
	if err := sidecar.Start(); err != nil {
		return fmt.Errorf("start the sidecar: %w", err)
	}
	defer func() {
		sidecar.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait tells whether it has ended
		if ended := sidecar.Wait(); err == nil {
			err = ended
		}
	}()

	url := "http://" + address + "/metrics"
	page, err := scrape(ctx, url, "kubevirt_vmi_hypervisor_domain_info{")
	if err != nil {
		return err
	}
	fmt.Printf("\n$ curl %s\n%s\n", url, page)
	if once {
		return nil
	}
	fmt.Printf("Serving %s until Ctrl-C; the VM is %s.\n", url, "default_demo")
	<-ctx.Done()
	return nil
}

// command is the sidecar as the webhook would start it: with the uid of libvirt
// and the VMI's identity in its environment.
func command(binary, address string, daemon *libvirttest.Daemon, guest libvirttest.Guest) *exec.Cmd {
	sidecar := exec.Command(binary, "--listen-address="+address, "--libvirt-socket="+daemon.Socket())
	sidecar.Env = []string{"VMI_NAMESPACE=" + guest.Namespace, "VMI_NAME=" + guest.Name, "NODE_NAME=demo-node", "GOMAXPROCS=1"}
	sidecar.Stdout, sidecar.Stderr = os.Stdout, os.Stderr
	// Its own process group: Ctrl-C is for the demo, which ends the sidecar in its turn.
	sidecar.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if uid := uint32(daemon.UID()); os.Getuid() == 0 {
		sidecar.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	return sidecar
}

// scrape reads the page until it holds the wanted text.
func scrape(ctx context.Context, url, want string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		page, err := get(ctx, url)
		if err == nil && strings.Contains(page, want) {
			return page, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not show %s: %w", url, want, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

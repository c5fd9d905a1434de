package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

const (
	// socketPath is where the webhook has the sidecar listen (inject.Exposure): a
	// process started beside it knows none of its flags.
	socketPath = "/var/run/hypervisor-exporter/metrics.sock"
	// showTimeout bounds show as a whole.
	showTimeout = 3 * time.Second
	// maxPage is far more than a page has, 3 KiB, and little beside the container's
	// memory, which show is charged to: on a TCP port the guest may answer.
	maxPage = 256 << 10
)

// showCommand prints the metrics of the sidecar that runs: the whole page, or nothing and an error.
func showCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the metrics of the running sidecar",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if listen == "" {
				listen = usualAddress()
			}
			page, err := fetch(listen)
			if err != nil {
				return fmt.Errorf("show %s: %w", listen, err)
			}
			_, err = cmd.OutOrStdout().Write(page)
			return err
		},
	}
	cmd.Flags().StringVar(&listen, "listen-address", "", "address of the sidecar (default: the container's socket if there is one, else "+defaultAddress+")")
	return cmd
}

// usualAddress returns the container's socket if there is one, and otherwise the sidecar's default.
func usualAddress() string {
	if info, err := os.Stat(socketPath); err == nil && info.Mode().Type() == os.ModeSocket {
		return "unix://" + socketPath
	}
	return defaultAddress
}

// fetch returns the page as text in the format 0.0.4. It does by hand what an http.Client
// would do with goroutines and pools.
func fetch(listen string) ([]byte, error) {
	deadline := time.Now().Add(showTimeout)
	network, address := exposition.DialAddress(listen)
	conn, err := (&net.Dialer{Deadline: deadline}).Dial(network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	// HTTP/1.0: no keep-alive, no chunks. Without Accept-Encoding nothing is compressed.
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.0\r\nHost: sidecar\r\nAccept: text/plain;version=0.0.4\r\n\r\n"); err != nil {
		return nil, err
	}
	answer := &io.LimitedReader{R: conn, N: maxPage}
	page, err := read(answer)
	if answer.N == 0 {
		return nil, fmt.Errorf("it answers with more than %d bytes", maxPage)
	}
	return page, err
}

// read reads an HTTP answer to its end.
func read(answer io.Reader) ([]byte, error) {
	response, err := http.ReadResponse(bufio.NewReader(answer), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New("it answered " + response.Status)
	}
	return page, err
}

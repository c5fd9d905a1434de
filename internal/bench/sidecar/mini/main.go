// Mini is the simplest exporter of the hypervisor's type that is honest about it:
// each scrape asks libvirt, over one connection that is kept.
package main

import (
	"flag"
	"log"
	"net"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/prometheus/client_golang/prometheus"
	"libvirt.org/go/libvirtxml"

	"kubevirt-hypervisor-exporter/internal/bench/sidecar/yardstick"
)

func main() {
	address := flag.String("listen", "127.0.0.1:9479", "host:port to serve on")
	socket := flag.String("socket", "/var/run/libvirt/virtqemud-sock", "path of libvirt's socket")
	uri := flag.String("uri", "qemu:///session", "libvirt connection URI")
	flag.Parse()
	virt := libvirt.NewWithDialer(unixDialer(*socket))
	if err := virt.ConnectToURI(libvirt.ConnectURI(*uri)); err != nil {
		log.Fatalf("connect to libvirt at %s: %v", *socket, err)
	}
	yardstick.Serve(*address, collector{virt})
}

type unixDialer string

func (d unixDialer) Dial() (net.Conn, error) { return net.Dial("unix", string(d)) }

var info = prometheus.NewDesc("mini_hypervisor_info", "The type of each running domain.", []string{"name", "type"}, nil)

type collector struct{ virt *libvirt.Libvirt }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- info }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	domains, _, err := c.virt.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(info, err)
		return
	}
	for _, d := range domains {
		kind, err := c.typeOf(d)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(info, err)
			continue
		}
		ch <- prometheus.MustNewConstMetric(info, prometheus.GaugeValue, 1, d.Name, kind)
	}
}

func (c collector) typeOf(d libvirt.Domain) (string, error) {
	text, err := c.virt.DomainGetXMLDesc(d, 0)
	if err != nil {
		return "", err
	}
	var domain libvirtxml.Domain
	err = domain.Unmarshal(text)
	return domain.Type, err
}

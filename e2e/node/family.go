package node

import (
	"fmt"
	"strings"
)

// A family is the cluster's addresses of one IP version, chosen to be unlikely elsewhere on the machine.
type family struct {
	any, anywhere string // every address of a host, and of all hosts
	node, prefix  string // a node's address on the bridge, by its number, and the length of its network
	machine       string // the machine's, there
	podNet        string // of a node's pods, by its number
	pods          string // of all nodes'
	services      string
	api, dns      string // the first Service, and a DNS server's: there is none, nothing here needs one but the certificate process
	settled       string // of an address that is added: no other host has it
}

var (
	ipv4 = family{
		any: "0.0.0.0", anywhere: "0.0.0.0/0",
		node: "10.77.0.%d", prefix: "/24", machine: "10.77.0.254",
		podNet: "10.99.%d.0/24", pods: "10.99.0.0/16",
		services: "10.98.0.0/16", api: "10.98.0.1", dns: "10.98.0.10",
	}
	ipv6 = family{
		any: "::", anywhere: "::/0",
		node: "fde2:77::%d", prefix: "/64", machine: "fde2:77::fe",
		podNet: "fde2:99:%d::/64", pods: "fde2:99::/48",
		services: "fde2:98::/112", api: "fde2:98::1", dns: "fde2:98::a",
		settled: " nodad",
	}
	// families are the values of Parts.IP. Kubernetes goes by the first of several: it is that of status.hostIP and
	// status.podIP, of Services that ask for none, and of the API server's address in the pods' environment.
	families = map[string][]family{"": {ipv4}, "dual": {ipv6, ipv4}}
)

// CheckIP returns an error unless there is a cluster with such addresses.
func CheckIP(ip string) error {
	if families[ip] == nil {
		return fmt.Errorf("addresses %q: set nothing, for IPv4, or dual, for IPv6 first and IPv4 too", ip)
	}
	return nil
}

func (n *Node) families() []family { return families[n.IP] }

// each lists what every family of the node has, as Kubernetes' flags need it.
func (n *Node) each(of func(family) string) string {
	var all []string
	for _, f := range n.families() {
		all = append(all, of(f))
	}
	return strings.Join(all, ",")
}

// address is the node's on the bridge.
func (n *Node) address(f family) string { return fmt.Sprintf(f.node, n.number) }

// podNet is the range of the node's pods.
func (n *Node) podNet(f family) string { return fmt.Sprintf(f.podNet, n.number) }

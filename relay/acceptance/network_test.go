package acceptance

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// guestPage is what the guest answers, on every port that is tried.
const guestPage = "this is the guest"

// The addresses: a node and a pod on a cable, a guest behind the pod.
const (
	nodeNet = `ip addr add 10.200.0.1/24 dev veth; ip -6 addr add fd00:200::1/64 dev veth nodad; ip link set veth up`
	podNet  = `ip addr add 10.200.0.2/24 dev eth0; ip -6 addr add fd00:200::2/64 dev eth0 nodad; ip link set eth0 up`
	// masquerade is KubeVirt's: a bridge that is the guest's gateway.
	masquerade = podNet + `
ip link add k6t-eth0 type bridge; ip link set tap0 master k6t-eth0; ip link set tap0 up; ip link set k6t-eth0 up
ip addr add 10.0.2.1/24 dev k6t-eth0; ip -6 addr add fd10:0:2::1/120 dev k6t-eth0 nodad
echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
nft -f "$1"`
	masqueradeGuest = `ip addr add 10.0.2.2/24 dev eth0; ip -6 addr add fd10:0:2::2/120 dev eth0 nodad; ip link set eth0 up
ip route add default via 10.0.2.1; ip -6 route add default via fd10:0:2::1`
	// bridge gives the pod's address away.
	bridge = `ip link add k6t-eth0 type bridge
for port in eth0 tap0; do ip link set $port master k6t-eth0; ip link set $port up; done; ip link set k6t-eth0 up`
	bridgeGuest = podNet
)

// TestWhateverTheNetwork: a scrape over TCP goes where the VM's network sends it;
// one through the relay arrives. The rulesets were read off KubeVirt 1.9 pods; the
// one for IPv6 is the same in that family.
func TestWhateverTheNetwork(t *testing.T) {
	t.Parallel()
	const guest, sidecar, nothing = guestPage, sidecarPage, ""
	for _, c := range []struct {
		name              string
		pod, guest, rules string
		// tcp is the page that is served at an address.
		tcp map[string]string
	}{
		{"masquerade without ports", masquerade, masqueradeGuest, "nft-masq.txt", map[string]string{
			"10.200.0.2:9477": guest, "[fd00:200::2]:9477": sidecar,
		}},
		{"masquerade with ports", masquerade, masqueradeGuest, "nft-masq-ports.txt", map[string]string{
			"10.200.0.2:9477": sidecar, "10.200.0.2:80": guest,
		}},
		{"masquerade on IPv6", masquerade, masqueradeGuest, "nft-masq-ip6.txt", map[string]string{
			"[fd00:200::2]:9477": guest,
		}},
		{"bridge", bridge, bridgeGuest, "", map[string]string{
			"10.200.0.2:9477": guest, "[fd00:200::2]:9477": guest,
		}},
		{"no pod network", "", "", "", map[string]string{"10.200.0.2:9477": nothing}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			node, pod, guestNet := newNetns(t), newNetns(t), newNetns(t)
			if c.pod != "" {
				node.run(t, `ip link add veth type veth peer name eth0 netns "$1"; `+nodeNet, pod.pid)
				pod.run(t, `ip link add tap0 type veth peer name eth0 netns "$1"`, guestNet.pid)
				rules, err := filepath.Abs(filepath.Join("testdata", c.rules))
				require.NoError(t, err)
				pod.run(t, c.pod, rules)
				guestNet.run(t, c.guest)
			}
			for _, port := range []string{":80", ":9477"} {
				guestNet.serve(t, func() (net.Listener, error) { return net.Listen("tcp", port) }, guestPage)
			}
			kubelet := newKubelet(t)
			relay := startRelay(t, setup{kubelet: kubelet, network: &node})
			relay.client = newClient(t, node.dial)
			in := addPod(t, kubelet)
			pod.serve(t, func() (net.Listener, error) { return net.Listen("tcp", ":9477") }, sidecarPage+"\n")
			pod.serve(t, func() (net.Listener, error) { return in.Listen() }, sidecarPage+"\n")

			require.Contains(t, relay.want(t, http.StatusOK, podPath(in.UID)), sidecarPage, "through the relay")
			for address, who := range c.tcp {
				if who == nothing {
					_, err := node.scrape(t, address)
					require.Error(t, err, address)
					continue
				}
				var page string
				testkit.Eventually(t, func() (err error) { // IPv6 takes a second to find its neighbours
					page, err = node.scrape(t, address)
					return err
				})
				require.Contains(t, page, who, address)
			}
			require.Contains(t, relay.want(t, http.StatusOK, podPath(in.UID)), sidecarPage, "through the relay")
		})
	}
}

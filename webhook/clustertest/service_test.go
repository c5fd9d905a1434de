package clustertest

import (
	"context"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// machineAddress is an address of this machine that an EndpointSlice may hold: loopback is refused there.
func machineAddress(t testing.TB) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	require.Fail(t, "this machine has no IPv4 address but loopback (ip address add 192.0.2.2/32 dev lo)")
	return ""
}

// join makes the port of this machine a ready endpoint of the webhook's Service, as the EndpointSlice controller does
// with a pod that is ready. The port has a slice of its own, since here all replicas have one address.
func join(t testing.TB, port int) {
	t.Helper()
	name, number := "https", int32(port)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:   sliceName(port),
			Labels: map[string]string{discoveryv1.LabelServiceName: serviceName},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{machineAddress(t)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
	}
	_, err := server.Client.DiscoveryV1().EndpointSlices(productNamespace).Create(t.Context(), slice, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { leave(t, port) })
}

// leave takes the port out of the Service, as it happens when a pod is told to end.
func leave(t testing.TB, port int) {
	t.Helper()
	err := server.Client.DiscoveryV1().EndpointSlices(productNamespace).
		Delete(context.Background(), sliceName(port), metav1.DeleteOptions{})
	require.NoError(t, ignoreNotFound(err))
}

func sliceName(port int) string { return serviceName + "-" + strconv.Itoa(port) }

// freePort is a port of all addresses that nothing listened on a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

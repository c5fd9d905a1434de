package acceptance

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// slowAPIServer passes everything on to the API server but reviews of tokens that begin with
// "made-up", which it never answers. It counts those.
type slowAPIServer struct {
	*httptest.Server
	hanging atomic.Int32
}

func newSlowAPIServer(t *testing.T) *slowAPIServer {
	t.Helper()
	target, err := url.Parse(apiServer.Config.Host)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(apiServer.Config.CAData))
	pass := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	s := &slowAPIServer{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var review authenticationv1.TokenReview
		if strings.HasSuffix(r.URL.Path, "/tokenreviews") && json.Unmarshal(body, &review) == nil && strings.HasPrefix(review.Spec.Token, "made-up") {
			s.hanging.Add(1)
			<-r.Context().Done()
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *slowAPIServer) authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// from lets the client's connections come from another address of loopback, as from another pod.
func from(client *http.Client, address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client.Transport.(*http.Transport).DialContext = dialer.DialContext
	return client
}

// TestMadeUpTokensAgainstASlowAPIServer: three strangers send made-up tokens as fast as they can, while the API server
// answers none of their reviews. They get 429; few reviews are asked for, the scraper loses no scrape, and the
// process stays small. A scraper that is new is let in, too.
func TestMadeUpTokensAgainstASlowAPIServer(t *testing.T) {
	namespace := apiServer.Namespace(t, "strangers", nil)
	slow := newSlowAPIServer(t)
	mount := newMount(t)
	mount.write(t, map[string][]byte{"ca.crt": slow.authority(), "token": []byte(account(t, namespace, "relay", "system:auth-delegator"))})
	kubelet, secret := newKubelet(t), newSecret(t)
	secret.issue(t)
	relay := startRelay(t, setup{
		kubelet: kubelet, account: mount.dir, args: secret.flags(), api: strings.TrimPrefix(slow.URL, "https://"),
	})
	relay.scheme, relay.client = "https", secret.client(t)
	pod := addPod(t, kubelet)
	startSidecar(t, pod)
	scraper := "Bearer " + account(t, namespace, "prometheus", role(t, "/metrics/vmis"))
	operator := "Bearer " + account(t, namespace, "operator", role(t, "/metrics"))
	scrape := func() error { return expect(relay, http.StatusOK, podPath(pod.UID), "Authorization", scraper) }
	eventually(t, scrape)
	eventually(t, func() error { return expect(relay, http.StatusOK, "/metrics", "Authorization", operator) })

	stop := make(chan struct{})
	var strangers sync.WaitGroup
	var refused, unavailable atomic.Int32
	for i := range 64 {
		client := from(secret.client(t), fmt.Sprintf("127.0.0.%d", 2+i%3))
		strangers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				request, err := http.NewRequest(http.MethodGet, "https://"+relay.address+podPath(pod.UID), nil)
				if err != nil {
					return
				}
				request.Header.Set("Authorization", fmt.Sprintf("Bearer made-up-%d-%d-%s", i, n, strings.Repeat("x", 4<<10)))
				response, err := client.Do(request)
				if err != nil {
					continue // the listener may refuse a crowd; that is its own test
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				switch response.StatusCode {
				case http.StatusTooManyRequests:
					refused.Add(1)
				case http.StatusServiceUnavailable:
					unavailable.Add(1)
				}
			}
		})
	}
	defer strangers.Wait()
	defer close(stop)
	eventually(t, func() error {
		if refused.Load() < 500 || unavailable.Load() == 0 {
			return fmt.Errorf("%d refused, %d have waited in vain", refused.Load(), unavailable.Load())
		}
		return nil
	})
	for range 20 {
		require.NoError(t, scrape())
	}
	other := "Bearer " + tokenFor(t, namespace, "prometheus", contract.RelayAudience)
	eventually(t, func() error { return expect(relay, http.StatusOK, podPath(pod.UID), "Authorization", other) })
	_, page, err := relay.get("/metrics", "Authorization", operator)
	require.NoError(t, err)
	require.Contains(t, page, `hypervisor_exporter_relay_authorizations_total{decision="busy",origin="apiserver"}`)
	resident := regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)`).FindStringSubmatch(page)
	require.NotNil(t, resident)
	var bytes float64
	_, err = fmt.Sscan(resident[1], &bytes)
	require.NoError(t, err)
	t.Logf("%d refused, %d waited in vain, %d reviews, %.0f MiB resident", refused.Load(), unavailable.Load(), slow.hanging.Load(), bytes/(1<<20))
	require.Less(t, bytes, 64.0*(1<<20), "of the container's 80 MiB")
}

package node

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// partsFile has what a running node is made of, for another process.
const partsFile = "parts.json"

// Recall reads what a running node is made of, so that a second can be started beside it.
func (n *Node) Recall() error {
	text, err := os.ReadFile(n.share(partsFile))
	if err != nil {
		return fmt.Errorf("read what %s is made of: %w", n.Name, err)
	}
	return json.Unmarshal(text, &n.Parts)
}

func (n *Node) share(names ...string) string {
	return filepath.Join(append([]string{n.State, "share"}, names...)...)
}

// configure writes what the node's programs read. A worker has the CA and token of its control plane.
func (n *Node) configure() error {
	for _, dir := range []string{"pki", "cni", "log", "pid", "hold", "registries"} {
		if err := os.MkdirAll(n.share(dir), 0o755); err != nil {
			return err
		}
	}
	if n.ControlPlane == nil {
		if err := n.writeCredentials(); err != nil {
			return fmt.Errorf("make the cluster's certificates: %w", err)
		}
	} else if err := errors.Join(os.RemoveAll(n.share("pki")), os.CopyFS(n.share("pki"), os.DirFS(n.ControlPlane.share("pki")))); err != nil {
		return fmt.Errorf("copy the cluster's certificates: %w", err)
	}
	token, err := os.ReadFile(n.share("pki", "token"))
	if err != nil {
		return err
	}
	inside := kubeconfig(n.server(), "/node/pki/ca.crt", string(token))
	outside := kubeconfig(n.server(), n.share("pki", "ca.crt"), string(token))
	parts, err := json.Marshal(n.Parts)
	if err != nil {
		return err
	}
	var programs strings.Builder
	for _, p := range n.programs() {
		fmt.Fprintln(&programs, p)
	}
	for name, text := range map[string]string{
		"kubeconfig": inside, "kubeconfig.host": outside, "containerd.toml": n.containerdConfig(), "cni/10-bridge.conflist": n.cniConfig(),
		"kubelet.yaml": n.kubeletConfig(), "programs": programs.String(), "supervise.sh": superviseScript, "reap.sh": reapScript, partsFile: string(parts),
	} {
		if err := os.WriteFile(n.share(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) writeCredentials() error {
	addresses := []net.IP{net.ParseIP("127.0.0.1")}
	for _, f := range n.families() {
		addresses = append(addresses, net.ParseIP(f.api), net.ParseIP(n.address(f)))
	}
	if err := writePKI(n.share("pki"), addresses, []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}); err != nil {
		return err
	}
	token := rand.Text()
	if err := os.WriteFile(n.share("pki", "token"), []byte(token), 0o600); err != nil {
		return err
	}
	return os.WriteFile(n.share("pki", "tokens.csv"), []byte(token+",admin,admin,system:masters\n"), 0o600)
}

func (n *Node) server() string {
	if n.ControlPlane != nil {
		return n.ControlPlane.server()
	}
	return "https://" + net.JoinHostPort(n.address(n.families()[0]), "6443")
}

func kubeconfig(server, ca, token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "%s", certificate-authority: %s}}]
users: [{name: admin, user: {token: "%s"}}]
contexts: [{name: e2e, context: {cluster: e2e, user: admin}}]
current-context: e2e
`, server, ca, token)
}

func (n *Node) containerdConfig() string {
	return fmt.Sprintf(`version = 2
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true # the machine's root may lack the right to lower it
  sandbox_image = "%s"
  device_ownership_from_security_context = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/node/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/node/registries"
`, n.PauseImage)
}

func (n *Node) cniConfig() string {
	ranges := n.each(func(f family) string { return fmt.Sprintf(`[{"subnet": "%s"}]`, n.podNet(f)) })
	routes := n.each(func(f family) string { return fmt.Sprintf(`{"dst": "%s"}`, f.anywhere) })
	return fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [%s], "routes": [%s]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`, ranges, routes)
}

func (n *Node) kubeletConfig() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /%s
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
failSwapOn: false
address: "%s"
clusterDNS: [%s]
syncFrequency: 10s # how soon a pod sees that a Secret has changed; otherwise a minute
evictionHard: {nodefs.available: "1%%", imagefs.available: "1%%"}
imageGCHighThresholdPercent: 100 # never: on a machine whose disk is 85 %% full images would be removed that no registry has
enforceNodeAllocatable: []
cpuManagerPolicy: static
systemReserved: {cpu: 200m} # one CPU stays shared, 1.8 can be asked for
`, n.Cgroup, n.families()[0].any, n.each(func(f family) string { return f.dns }))
}

// programs are the node's, each a name and its command line as in /node/programs.
func (n *Node) programs() []string {
	lines := []string{"containerd /usr/bin/containerd --config /node/containerd.toml"}
	if n.ControlPlane == nil {
		lines = append(lines, n.controlPlane()...)
	}
	if n.Reap {
		lines = append(lines, "reap /bin/bash /node/reap.sh")
	}
	return append(lines,
		command("kubelet", "--root-dir="+n.KubeletRoot, "--config=/node/kubelet.yaml", "--kubeconfig=/node/kubeconfig", "--hostname-override="+n.Name, "--node-ip="+n.each(n.address)),
		command("kube-proxy", "--kubeconfig=/node/kubeconfig", "--proxy-mode=nftables", "--cluster-cidr="+n.each(func(f family) string { return f.pods }), "--hostname-override="+n.Name,
			// The machine's root may not change these.
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"))
}

func (n *Node) controlPlane() []string {
	primary := n.families()[0]
	return []string{
		"etcd /usr/bin/etcd --data-dir=/var/lib/etcd --unsafe-no-fsync --listen-client-urls=http://127.0.0.1:2379" +
			" --advertise-client-urls=http://127.0.0.1:2379 --listen-peer-urls=http://127.0.0.1:2380",
		command("kube-apiserver",
			"--etcd-servers=http://127.0.0.1:2379",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key",
			"--service-cluster-ip-range="+n.each(func(f family) string { return f.services }),
			"--tls-cert-file=apiserver.crt", "--tls-private-key-file=apiserver.key", "--client-ca-file=ca.crt",
			"--bind-address="+primary.any, "--secure-port=6443", "--advertise-address="+n.address(primary), // pods must reach it
			"--token-auth-file=tokens.csv", "--authorization-mode=Node,RBAC", "--allow-privileged=true",
			"--kubelet-preferred-address-types=InternalIP",
			// KubeVirt's API is an aggregated one.
			"--requestheader-client-ca-file=ca.crt", "--requestheader-allowed-names=front-proxy", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
			"--proxy-client-cert-file=proxy.crt", "--proxy-client-key-file=proxy.key"),
		command("kube-controller-manager", "--kubeconfig=/node/kubeconfig", "--service-account-private-key-file=sa.key", "--root-ca-file=ca.crt",
			"--cluster-signing-cert-file=ca.crt", "--cluster-signing-key-file=ca.key", "--use-service-account-credentials=true", "--leader-elect=false"),
		command("kube-scheduler", "--kubeconfig=/node/kubeconfig", "--leader-elect=false"),
	}
}

func command(name string, args ...string) string {
	return name + " /opt/kubernetes/" + name + " " + strings.Join(args, " ")
}

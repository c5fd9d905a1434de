package node

import "strings"

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

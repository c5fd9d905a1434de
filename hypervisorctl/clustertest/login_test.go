package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A user logs in as the kubeconfig says: with a program, with a file that has a token, or with OpenID Connect, whose id-token
// client-go sends on (here that of a ServiceAccount, which is a JSON Web Token, too).
func TestLogin(t *testing.T) {
	define(t)
	namespace := server.Namespace(t, "login", nil)
	testVM{namespace: namespace, name: "web", fixture: "masq", node: "node-1"}.create(t)
	accounts := server.Client.CoreV1().ServiceAccounts(namespace)
	_, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "user"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	issued, err := accounts.CreateToken(t.Context(), "user", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	name := "system:serviceaccount:" + namespace + ":user"
	require.NoError(t, grant(t, namespace, name, []string{"kubevirt.io", ""}, []string{"virtualmachineinstances", "pods"}, "list"))

	dir := t.TempDir()
	tokenFile, program := filepath.Join(dir, "token"), filepath.Join(dir, "login")
	require.NoError(t, os.WriteFile(tokenFile, []byte(issued.Status.Token), 0o600))
	require.NoError(t, os.WriteFile(program, []byte(fmt.Sprintf(`#!/bin/sh
test "$1" = login || exit 1
printf '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%%s"}}' "$(cat %s)"
`, tokenFile)), 0o700))
	for way, user := range map[string]*clientcmdapi.AuthInfo{
		"token file": {TokenFile: tokenFile},
		"exec": {Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: program, Args: []string{"login"}, InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		}},
		"oidc": {AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "oidc", Config: map[string]string{
			"idp-issuer-url": "https://issuer.invalid", "client-id": "kubernetes", "id-token": issued.Status.Token,
		}}},
	} {
		t.Run(way, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "kubeconfig")
			require.NoError(t, clientcmd.WriteToFile(clientcmdapi.Config{
				Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: server.Config.Host, CertificateAuthorityData: server.Config.CAData}},
				AuthInfos:      map[string]*clientcmdapi.AuthInfo{"test": user},
				Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "test", Namespace: namespace}},
				CurrentContext: "test",
			}, file))
			got := call(t, file, "list", "--source=none", "-o", "name")
			require.Equal(t, answer{out: "virtualmachineinstance.kubevirt.io/web\n"}, got)
			got = call(t, file, "__complete", "list", "--context", "")
			require.Equal(t, "test\n:4\n", got.out)
		})
	}
}

func TestCompletion(t *testing.T) {
	namespace := shop(t)
	for _, one := range []struct{ args, want []string }{
		{[]string{"list", ""}, []string{"best-effort", "emulated", "failed", "missed", "missed-bare", "missed-fixed", "opted-out", "pulling", "starting", "web"}},
		{[]string{"list", "web", "vmi/o"}, []string{"vmi/opted-out"}},
		{[]string{"explain", "e"}, []string{"emulated"}},
		{[]string{"explain", "web", ""}, nil},
		{[]string{"check", "-n", namespace}, []string{namespace}},
	} {
		line := append([]string{"__complete", one.args[0], "-n", namespace}, one.args[1:]...)
		got := call(t, administrator(t), line...)
		var want string
		for _, name := range one.want {
			want += name + "\n"
		}
		require.Equal(t, want+":4\n", got.out, line)
	}
	got := callAs(t, nil, "__complete", "list", "-n", namespace, "--as=stranger", "")
	require.Equal(t, ":4\n", got.out, "no names, and no error in between")
}

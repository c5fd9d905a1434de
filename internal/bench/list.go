package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// list measures `hypervisorctl list` on a real API server that has 10,000 VMIs with a virt-launcher pod each. Without a source: the
// time of Prometheus or the relays is theirs.
func (b *bench) list(ctx context.Context) (_ *table, err error) {
	if err := testkit.Build(ctx, b.folder, "./hypervisorctl"); err != nil {
		return nil, err
	}
	server, err := apiservertest.Start(ctx, b.folder)
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	many := pick(b, 10_000, 100)
	t := newTable([]string{"now"})
	progress("list: creating %d VMIs and pods", many)
	if err := createVMs(ctx, server, many, t); err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(b.folder, "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"bench": {Server: server.Config.Host, CertificateAuthorityData: server.Config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"bench": {Token: server.Config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"bench": {Cluster: "bench", AuthInfo: "bench"}},
		CurrentContext: "bench",
	}, kubeconfig); err != nil {
		return nil, err
	}
	for round := range pick(b, 9, 2) {
		progress("list: round %d", round+1)
		for _, output := range []string{"wide", "json"} {
			command := exec.CommandContext(ctx, filepath.Join(b.folder, "hypervisorctl"), "--kubeconfig="+kubeconfig, "list", "-A", "--source=none", "-o", output)
			began := time.Now()
			printed, err := command.Output()
			took := time.Since(began)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", command, err)
			}
			if lines := strings.Count(string(printed), "vm-"); lines < many {
				return nil, fmt.Errorf("list printed %d of %d VMs", lines, many)
			}
			usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage)
			if !ok {
				return nil, errors.New("no resource usage of the process")
			}
			t.add(0, "-o "+output+": time", milli, took.Seconds())
			t.add(0, "-o "+output+": CPU", milli, (command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds())
			t.add(0, "-o "+output+": most resident memory", mebibytes, float64(usage.Maxrss<<10))
		}
	}
	return t, nil
}

// createVMs creates VMIs and their pods, and adds the size of both to the table.
func createVMs(ctx context.Context, server *apiservertest.Server, many int, t *table) error {
	definitions, err := os.Open("hypervisorctl/clustertest/testdata/crds/kubevirt.yaml")
	if err != nil {
		return err
	}
	defer func() { _ = definitions.Close() }() // it was only read
	objects, err := apiservertest.Objects(definitions)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := server.Apply(ctx, object); err != nil {
			return err
		}
	}
	const namespace = "bench"
	if _, err := server.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := server.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return err
	}
	content, err := os.ReadFile("hypervisorctl/cluster/launcher.yaml") // a pod of KubeVirt 1.9
	if err != nil {
		return err
	}
	var launcher corev1.Pod
	if err := yaml.UnmarshalStrict(content, &launcher); err != nil {
		return err
	}
	create := func(ctx context.Context, i int) (vmi, pod any, err error) {
		object, err := server.Create(ctx, benchVMI(namespace, i), metav1.CreateOptions{})
		if err != nil {
			return nil, nil, err
		}
		one, controller := launcher.DeepCopy(), true
		one.Namespace, one.GenerateName, one.Name, one.Spec.NodeName = namespace, "", fmt.Sprintf("virt-launcher-vm-%d-abcde", i), fmt.Sprintf("node-%d", i/100)
		one.OwnerReferences = []metav1.OwnerReference{{APIVersion: "kubevirt.io/v1", Kind: "VirtualMachineInstance", Name: object.GetName(), UID: object.GetUID(), Controller: &controller}}
		pod, err = server.Client.CoreV1().Pods(namespace).Create(ctx, one, metav1.CreateOptions{})
		return object, pod, err
	}
	var vmi, pod any
	for began := time.Now(); ; { // the definitions are served after a moment
		if vmi, pod, err = create(ctx, 0); err == nil {
			break
		}
		if time.Since(began) > testkit.Patience || pause(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
	for name, one := range map[string]any{"VMI": vmi, "pod": pod} {
		size, err := json.Marshal(one)
		if err != nil {
			return err
		}
		t.add(0, "a "+name+", as JSON", kilobytes, float64(len(size)))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := 1; i < many; i++ {
		group.Go(func() error {
			_, _, err := create(ctx, i)
			return err
		})
	}
	return group.Wait()
}

func kilobytes(v float64) string { return fmt.Sprintf("%.1f kB", v/1e3) }

// benchVMI is a VMI of the size that KubeVirt's have with a few disks.
func benchVMI(namespace string, i int) *unstructured.Unstructured {
	var disks, volumes []any
	for n := range 8 {
		name := fmt.Sprintf("disk-%d", n)
		disks = append(disks, map[string]any{"name": name, "disk": map[string]any{"bus": "virtio"}, "bootOrder": int64(n + 1), "serial": strings.Repeat("s", 36), "cache": "none", "io": "native"})
		volumes = append(volumes, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": fmt.Sprintf("vm-%d-%s", i, name)},
			"status": map[string]any{"target": "vda", "size": int64(1 << 30), "claimInfo": map[string]any{"accessModes": []any{"ReadWriteMany"}, "volumeMode": "Block", "capacity": map[string]any{"storage": "10Gi"}}}})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
		"metadata": map[string]any{"namespace": namespace, "name": fmt.Sprintf("vm-%d", i), "annotations": map[string]any{"description": strings.Repeat("text ", 200)}},
		"spec":     map[string]any{"architecture": "amd64", "domain": map[string]any{"devices": map[string]any{"disks": disks}}, "volumes": volumes},
		"status": map[string]any{
			"phase": "Running", "nodeName": fmt.Sprintf("node-%d", i/100), "machine": map[string]any{"type": "pc-q35-rhel9.6.0"}, "volumeStatus": volumes,
			"interfaces": []any{map[string]any{"name": "default", "ipAddress": "10.0.0.1", "mac": "02:00:00:00:00:01", "infoSource": "domain, guest-agent"}},
			"conditions": []any{map[string]any{"type": "Ready", "status": "True"}, map[string]any{"type": "LiveMigratable", "status": "True"}},
		},
	}}
}

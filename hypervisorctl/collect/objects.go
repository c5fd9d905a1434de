package collect

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Scope is where to read.
type Scope struct {
	// Exporter and Relay are the namespaces of the installation; without a relay, its is empty.
	Exporter, Relay string
	// Namespace has the VMs; empty for all namespaces.
	Namespace string
	// Pods are those of VMs, by namespace/name.
	Pods map[string]Launcher
}

// namespaces are those of the installation, each once.
func (s Scope) namespaces() []string {
	if s.Relay == "" || s.Relay == s.Exporter {
		return []string{s.Exporter}
	}
	return []string{s.Exporter, s.Relay}
}

// Launcher is a VM's pod. It is troubled if the VM's type is not known.
type Launcher struct{ Troubled, Sidecar bool }

// thing is an object, or a list of objects if it has no name.
type thing struct {
	group, version, resource, namespace, name string
	selector                                  string
	keep                                      rule
}

func (s Scope) things() []thing {
	const admission, operator = "admissionregistration.k8s.io", "monitoring.coreos.com"
	things := []thing{
		{admission, "v1", "mutatingwebhookconfigurations", "", cluster.Configuration, "", configuration},
		{admission, "v1", "mutatingadmissionpolicies", "", cluster.Configuration, "", configuration},
		{admission, "v1", "mutatingadmissionpolicybindings", "", cluster.Configuration, "", configuration},
		{"apps", "v1", "deployments", s.Exporter, cluster.Webhook, "", workload},
		{"apps", "v1", "deployments", s.Exporter, cluster.Certs, "", workload},
		{"discovery.k8s.io", "v1", "endpointslices", s.Exporter, "", "kubernetes.io/service-name=" + cluster.Webhook, endpoints},
		{operator, "v1", "prometheuses", "", "", "", prometheus},
		{operator, "v1alpha1", "prometheusagents", "", "", "", prometheus},
		{operator, "v1", "thanosrulers", "", "", "", prometheus},
		{"kubevirt.io", "v1", "kubevirts", "", "", "", kubeVirt},
		{"", "v1", "namespaces", "", "", inject.AnnotationInject, namespace},
	}
	if s.Relay != "" {
		things = append(things, thing{"apps", "v1", "daemonsets", s.Relay, cluster.Relay, "", workload})
	}
	for _, one := range s.namespaces() {
		things = append(things,
			thing{"", "v1", "namespaces", "", one, "", namespace},
			thing{operator, "v1", "podmonitors", one, "", "", podMonitor},
			thing{operator, "v1", "prometheusrules", one, "", "", prometheusRule},
			thing{"", "v1", "pods", one, "", cluster.Ours, pod},
			thing{"", "v1", "events", one, "", "", event})
	}
	return things
}

// Objects adds the objects of the installation, and what it depends on.
func Objects(ctx context.Context, reader *cluster.Cluster, scope Scope, bundle *Bundle) {
	for _, one := range scope.things() {
		file := "objects/" + strings.Join(slices.DeleteFunc([]string{one.resource, one.namespace, one.name}, func(s string) bool { return s == "" }), ".") + ".yaml"
		objects(ctx, reader, bundle, file, one, func(*unstructured.Unstructured) bool { return true })
	}
	if scope.Relay == "" {
		return
	}
	ca, err := reader.PublishedCA(ctx, scope.Relay)
	if err != nil {
		bundle.Missing("the relay's CA", err)
		return
	}
	bundle.Add("objects/relay-ca.pem", certificates([]byte(ca)))
}

// objects adds a file with what is kept of objects that are wanted.
func objects(ctx context.Context, reader *cluster.Cluster, bundle *Bundle, file string, one thing, wanted func(*unstructured.Unstructured) bool) {
	var text bytes.Buffer
	err := reader.EachObject(ctx, schema.GroupVersionResource{Group: one.group, Version: one.version, Resource: one.resource}, one.namespace, one.name,
		metav1.ListOptions{LabelSelector: one.selector}, func(object *unstructured.Unstructured) {
			if !wanted(object) || text.Len() > largestFile {
				return
			}
			if content, err := yaml.Marshal(one.keep(object.Object)); err == nil { // it came as JSON
				text.WriteString("---\n")
				text.Write(content)
			}
		})
	if err != nil {
		bundle.Missing(file, err)
	}
	if text.Len() > 0 {
		bundle.Add(file, text.Bytes())
	}
}

// certificates returns the certificates of a PEM file, and nothing else that is in it.
func certificates(content []byte) []byte {
	var kept bytes.Buffer
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_ = pem.Encode(&kept, &pem.Block{Type: block.Type, Bytes: block.Bytes}) // to memory
		}
	}
	return kept.Bytes()
}

// The most pods of VMs whose objects and logs are kept: those of troubled VMs, and some others to compare.
const (
	mostLaunchers = 200
	mostOthers    = 5
	mostLogs      = 20
)

// Launchers adds the sidecars of VMs' pods, and the logs of some.
func Launchers(ctx context.Context, reader *cluster.Cluster, scope Scope, bundle *Bundle) {
	troubled, others := 0, 0
	var logs []*corev1.Pod
	objects(ctx, reader, bundle, "vms/pods.yaml", thing{"", "v1", "pods", scope.Namespace, "", vm.LauncherSelector, launcher}, func(object *unstructured.Unstructured) bool {
		pod, found := scope.Pods[object.GetNamespace()+"/"+object.GetName()]
		switch {
		case !found:
			return false
		case !pod.Troubled:
			others++
			return others <= mostOthers
		case pod.Sidecar:
			logs = append(logs, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: object.GetName()}})
		}
		troubled++
		return troubled <= mostLaunchers
	})
	if left := max(0, troubled-mostLaunchers) + max(0, others-mostOthers); left > 0 {
		bundle.Missing("vms/pods.yaml", fmt.Errorf("%d more pods of VMs", left))
	}
	for i, pod := range logs {
		if i == mostLogs {
			bundle.Missing("logs of sidecars", fmt.Errorf("%d more", len(logs)-mostLogs))
			return
		}
		addLog(ctx, reader, bundle, "vms/logs/"+pod.Namespace+"."+pod.Name, pod, inject.ContainerName, false)
	}
}

// Logs adds the logs of the installation's pods and the webhook's metrics. Pods that are not ready come first.
func Logs(ctx context.Context, reader *cluster.Cluster, scope Scope, bundle *Bundle) {
	for _, namespace := range scope.namespaces() {
		pods, err := reader.Pods(ctx, namespace, cluster.Ours)
		if err != nil {
			bundle.Missing("logs in the namespace "+namespace, err)
			continue
		}
		slices.SortStableFunc(pods, func(a, b corev1.Pod) int { return ready(&a) - ready(&b) })
		for i := range pods {
			if i == mostLogs {
				bundle.Missing("logs in the namespace "+namespace, fmt.Errorf("those of %d more pods", len(pods)-mostLogs))
				break
			}
			pod := &pods[i]
			for _, container := range pod.Spec.Containers {
				name := "logs/" + namespace + "." + pod.Name + "." + container.Name
				switch container.Name {
				case "webhook":
					if page, err := reader.WebhookPage(ctx, pod); err != nil {
						bundle.Missing("metrics of "+pod.Name, err)
					} else {
						bundle.Add(name+".metrics", page)
					}
				case "certs", "relay":
				default: // of others
					continue
				}
				addLog(ctx, reader, bundle, name, pod, container.Name, false)
				if slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == container.Name && s.RestartCount > 0 }) {
					addLog(ctx, reader, bundle, name+".previous", pod, container.Name, true)
				}
			}
		}
	}
}

// ready is 1 for a pod that is ready.
func ready(pod *corev1.Pod) int {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return 1
		}
	}
	return 0
}

func addLog(ctx context.Context, reader *cluster.Cluster, bundle *Bundle, name string, pod *corev1.Pod, container string, previous bool) {
	lines, most := int64(2000), int64(512<<10)
	log, err := reader.Log(ctx, pod, corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: &lines, LimitBytes: &most, Timestamps: true,
	})
	switch {
	case err != nil:
		bundle.Missing(name+".log", err)
	case len(log) == 0:
		bundle.Missing(name+".log", errors.New("it is empty"))
	default:
		bundle.Add(name+".log", log)
	}
}

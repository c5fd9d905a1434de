package check

import (
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

// rights asks the API server for the rights of others: a Prometheus that finds pods, an operator, the scraper's identity.
type rights struct {
	r *run
	// unread are errors, by what was asked; a missing right of the user is one line.
	unread []Line
	denied bool
}

// may reports whether a ServiceAccount has a right; known is false if that could not be asked.
func (a *rights) may(namespace, account string, resource *authorizationv1.ResourceAttributes, url *authorizationv1.NonResourceAttributes) (allowed, known bool) {
	if a.denied {
		return false, false
	}
	allowed, err := a.r.reader.MayServiceAccount(a.r.ctx, namespace, account, resource, url)
	if err != nil {
		a.denied = true // or each further question would fail as well
		a.unread = append(a.unread, unread("rights of the ServiceAccounts of Prometheus, its operator and the scraper", err))
	}
	return allowed, err == nil
}

// lines returns what could not be asked.
func (a *rights) lines() []Line { return a.unread }

// finds returns what is wrong with the right of a Prometheus to find a PodMonitor's pods: it lists and watches them
// (prometheus/discovery/kubernetes), in the namespaces that the PodMonitor selects (pkg/prometheus/promcfg.go:
// getNamespacesFromNamespaceSelector).
func (a *rights) finds(p *cluster.Prometheus, monitor *cluster.PodMonitor) []problem {
	if p.Spec.APIServer != nil { // another API server's rights
		return nil
	}
	for _, namespace := range searched(p, monitor) {
		for _, verb := range []string{"list", "watch"} {
			allowed, known := a.may(p.Namespace, p.Account(), &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "pods"}, nil)
			if known && !allowed {
				return []problem{cannotFind(p, verb, namespace)}
			}
		}
	}
	return nil
}

// searched returns the namespaces in which a Prometheus looks for a PodMonitor's pods; an empty name means all.
func searched(p *cluster.Prometheus, monitor *cluster.PodMonitor) []string {
	selector := monitor.Spec.NamespaceSelector
	switch {
	case p.Spec.IgnoreNamespaceSelectors:
		return []string{monitor.Namespace}
	case selector.Any:
		return []string{metav1.NamespaceAll}
	case len(selector.MatchNames) == 0:
		return []string{monitor.Namespace}
	default:
		return selector.MatchNames
	}
}

// cannotFind is the problem of a Prometheus without a right to the pods of a namespace, or of all if it is empty.
func cannotFind(p *cluster.Prometheus, verb, namespace string) problem {
	const role = "hypervisor-exporter-prometheus"
	kind, where, flag := "clusterrole", "all namespaces", ""
	if namespace != metav1.NamespaceAll {
		kind, where, flag = "role", "the namespace "+namespace, " -n "+namespace
	}
	account := p.Namespace + ":" + p.Account()
	return problem{Fail, fmt.Sprintf("its ServiceAccount %s may not %s pods in %s", strings.ReplaceAll(account, ":", "/"), verb, where),
		fmt.Sprintf("kubectl create %[1]s %[2]s%[3]s --verb=get,list,watch --resource=pods && kubectl create %[1]sbinding %[2]s%[3]s --%[1]s=%[2]s --serviceaccount=%[4]s",
			kind, role, flag, account)}
}

// operators returns, for each Prometheus, the operators that may write its state: so they are no tenant's pods that only look
// like one.
func (a *rights) operators(all []cluster.Prometheus) map[*cluster.Prometheus][]cluster.Operator {
	found := map[*cluster.Prometheus][]cluster.Operator{}
	operators, err := a.r.reader.Operators(a.r.ctx)
	if err != nil {
		a.unread = append(a.unread, unread("pods of the Prometheus operator", err))
		return found
	}
	known := map[string]bool{}
	for i := range all {
		p := &all[i]
		for _, operator := range operators {
			for _, namespace := range []string{metav1.NamespaceAll, p.Namespace} {
				key := strings.Join([]string{operator.Namespace, operator.Account, p.Resource(), namespace}, "/")
				if _, asked := known[key]; !asked {
					known[key], _ = a.may(operator.Namespace, operator.Account, &authorizationv1.ResourceAttributes{
						Namespace: namespace, Verb: "update", Group: "monitoring.coreos.com", Resource: p.Resource(), Subresource: "status",
					}, nil)
				}
				if known[key] {
					found[p] = append(found[p], operator)
					break
				}
			}
		}
	}
	return found
}

// scraper checks whether the relay lets in the identity whose token the PodMonitor sends (relay/authorization). Whose token
// another Secret has, only its content would show.
func (a *rights) scraper(monitor *cluster.PodMonitor) []Line {
	if !sends(monitor, cluster.Scraper) {
		return nil
	}
	allowed, known := a.may(monitor.Namespace, cluster.Scraper, nil, &authorizationv1.NonResourceAttributes{Verb: "get", Path: cluster.RelayPath})
	if !known || allowed {
		return nil
	}
	account := monitor.Namespace + ":" + cluster.Scraper
	return []Line{fail(fmt.Sprintf("kubectl create clusterrole %[1]s --verb=get --non-resource-url=%[2]s,/metrics; kubectl create clusterrolebinding %[1]s --clusterrole=%[1]s --serviceaccount=%[3]s",
		cluster.Scraper, cluster.RelayPath, account),
		"ServiceAccount %s may not get %s: the relay refuses Prometheus", strings.ReplaceAll(account, ":", "/"), cluster.RelayPath)}
}

// sends reports whether Prometheus sends the token in a Secret of that name.
func sends(monitor *cluster.PodMonitor, secret string) bool {
	for _, endpoint := range monitor.Spec.PodMetricsEndpoints {
		if endpoint.Authorization != nil && endpoint.Authorization.Credentials != nil && endpoint.Authorization.Credentials.Name == secret {
			return true
		}
	}
	return false
}

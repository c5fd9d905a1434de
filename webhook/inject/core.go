package inject

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FromCore is the Pod of a pod that a client has decoded already. The result shares maps
// and pointers with it.
func FromCore(pod *corev1.Pod) *Pod {
	return &Pod{
		ObjectMeta: ObjectMeta{
			Name:         pod.Name,
			GenerateName: pod.GenerateName,
			Namespace:    pod.Namespace,
			Labels:       pod.Labels,
			Annotations:  pod.Annotations,
			OwnerReferences: convert(pod.OwnerReferences, func(r *metav1.OwnerReference) OwnerReference {
				return OwnerReference{APIVersion: r.APIVersion, Kind: r.Kind, Name: r.Name, UID: string(r.UID), Controller: r.Controller}
			}),
		},
		Spec: PodSpec{
			Containers:     convert(pod.Spec.Containers, containerFromCore),
			InitContainers: convert(pod.Spec.InitContainers, containerFromCore),
			Volumes: convert(pod.Spec.Volumes, func(v *corev1.Volume) NamedObject {
				return NamedObject{Name: v.Name}
			}),
			ImagePullSecrets: convert(pod.Spec.ImagePullSecrets, func(r *corev1.LocalObjectReference) NamedObject {
				return NamedObject{Name: r.Name}
			}),
			SecurityContext:  podSecurityFromCore(pod.Spec.SecurityContext),
			HostNetwork:      pod.Spec.HostNetwork,
			RuntimeClassName: pod.Spec.RuntimeClassName,
			NodeSelector:     pod.Spec.NodeSelector,
			Affinity:         affinityFromCore(pod.Spec.Affinity),
			Resources:        resourcesFromCore(pod.Spec.Resources),
		},
	}
}

func containerFromCore(c *corev1.Container) Container {
	converted := Container{
		Name:          c.Name,
		Resources:     *resourcesFromCore(&c.Resources),
		RestartPolicy: (*string)(c.RestartPolicy),
		Ports: convert(c.Ports, func(p *corev1.ContainerPort) ContainerPort {
			return ContainerPort{ContainerPort: p.ContainerPort, Protocol: string(p.Protocol)}
		}),
		VolumeMounts: convert(c.VolumeMounts, func(m *corev1.VolumeMount) VolumeMount {
			return VolumeMount{Name: m.Name, MountPath: m.MountPath}
		}),
	}
	if sc := c.SecurityContext; sc != nil {
		converted.SecurityContext = &SecurityContext{
			RunAsUser:       sc.RunAsUser,
			RunAsGroup:      sc.RunAsGroup,
			RunAsNonRoot:    sc.RunAsNonRoot,
			SELinuxOptions:  sc.SELinuxOptions,
			AppArmorProfile: sc.AppArmorProfile,
		}
	}
	return converted
}

func affinityFromCore(a *corev1.Affinity) *Affinity {
	if a == nil {
		return nil
	}
	if a.NodeAffinity == nil {
		return &Affinity{}
	}
	required := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil {
		return &Affinity{NodeAffinity: &NodeAffinity{}}
	}
	terms := convert(required.NodeSelectorTerms, func(t *corev1.NodeSelectorTerm) NodeSelectorTerm {
		return NodeSelectorTerm{
			MatchExpressions: convert(t.MatchExpressions, func(r *corev1.NodeSelectorRequirement) NodeSelectorRequirement {
				return NodeSelectorRequirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values}
			}),
			MatchFields: convert(t.MatchFields, func(*corev1.NodeSelectorRequirement) struct{} { return struct{}{} }),
		}
	})
	return &Affinity{NodeAffinity: &NodeAffinity{Required: &NodeSelector{Terms: terms}}}
}

func podSecurityFromCore(sc *corev1.PodSecurityContext) *PodSecurityContext {
	if sc == nil {
		return nil
	}
	converted := &PodSecurityContext{RunAsUser: sc.RunAsUser, RunAsGroup: sc.RunAsGroup, RunAsNonRoot: sc.RunAsNonRoot}
	if sc.SeccompProfile != nil {
		converted.SeccompProfile = &struct{}{}
	}
	return converted
}

func resourcesFromCore(r *corev1.ResourceRequirements) *Resources {
	if r == nil {
		return nil
	}
	return &Resources{Requests: listFromCore(r.Requests), Limits: listFromCore(r.Limits)}
}

func listFromCore(list corev1.ResourceList) *ResourceList {
	if list == nil {
		return nil
	}
	quantity := func(name corev1.ResourceName) Quantity {
		q, stated := list[name]
		return Quantity{Quantity: q, Stated: stated}
	}
	return &ResourceList{CPU: quantity(corev1.ResourceCPU), Memory: quantity(corev1.ResourceMemory)}
}

// convert maps a list; one that is missing stays missing.
func convert[From, To any](list []From, one func(*From) To) []To {
	if list == nil {
		return nil
	}
	converted := make([]To, len(list))
	for i := range list {
		converted[i] = one(&list[i])
	}
	return converted
}

{{/* Get and patch of two Secrets, and of the relay's ConfigMap, and nothing else. Takes the chart, the namespace and whose Secrets they are. */}}
{{- define "certsRole" -}}
{{- $chart := index . 0 }}
{{- $namespace := index . 1 }}
{{- $whose := index . 2 -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: hypervisor-exporter-certs
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" (list $chart "certs") | nindent 4 }}
rules:
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [hypervisor-exporter-{{ $whose }}-ca, hypervisor-exporter-{{ $whose }}-tls]
  verbs: [get, patch]
{{- if eq $whose "relay" }}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [hypervisor-exporter-relay-ca]
  verbs: [get, patch]
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: hypervisor-exporter-certs
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" (list $chart "certs") | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: hypervisor-exporter-certs
subjects:
- kind: ServiceAccount
  name: hypervisor-exporter-certs
  namespace: {{ $chart.Release.Namespace }}
{{- end }}

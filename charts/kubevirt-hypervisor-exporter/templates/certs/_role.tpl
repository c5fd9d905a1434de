{{/* Get and patch of two Secrets, and nothing else. Takes the chart, the namespace and whose Secrets they are. */}}
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
    {{- include "labels" "certs" | nindent 4 }}
rules:
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [hypervisor-exporter-{{ $whose }}-ca, hypervisor-exporter-{{ $whose }}-tls]
  verbs: [get, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: hypervisor-exporter-certs
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" "certs" | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: hypervisor-exporter-certs
subjects:
- kind: ServiceAccount
  name: hypervisor-exporter-certs
  namespace: {{ $chart.Release.Namespace }}
{{- end }}

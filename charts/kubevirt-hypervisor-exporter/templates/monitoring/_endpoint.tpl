{{/*
Rules and dashboards go by these jobs, which are what the operator calls the targets in the usual namespaces. Takes the
PodMonitor's namespace, the usual one and the PodMonitor's name.
*/}}
{{- define "jobRelabeling" -}}
{{- $namespace := index . 0 }}
{{- $usual := index . 1 }}
{{- if ne $namespace $usual -}}
- targetLabel: job
  replacement: {{ $usual }}/{{ index . 2 }}
{{- end }}
{{- end }}

{{/* How Prometheus speaks to the relay. */}}
{{- define "relayEndpoint" -}}
scheme: https
tlsConfig:
  serverName: {{ include "relayServerName" . }}
  ca:
    {{- if eq .Values.certificates.source "builtin" }}
    configMap:
      name: hypervisor-exporter-relay-ca
    {{- else }}
    secret: # cert-manager writes the authority into no ConfigMap
      name: hypervisor-exporter-relay-tls
    {{- end }}
      key: ca.crt
{{- if eq .Values.relay.authorization "delegated" }}
authorization:
  credentials:
    name: hypervisor-exporter-scraper
    key: token
{{- end }}
{{- end }}

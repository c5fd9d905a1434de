{{/*
Names do not depend on the release's name: a cluster has one installation, and alerts, runbooks and the certificate
process' rights use these names. Only the namespaces can be chosen.
*/}}

{{- define "relayNamespace" -}}
{{ .Values.relay.namespace.name | default (printf "%s-relay" .Release.Namespace) }}
{{- end }}

{{- define "relayServerName" -}}
hypervisor-exporter-relay.{{ include "relayNamespace" . }}.svc
{{- end }}

{{- define "webhookNamespaces" -}}
{{ list .Release.Namespace (include "relayNamespace" .) "kube-system" | uniq | toJson }}
{{- end }}

{{/* Takes the component's name. */}}
{{- define "labels" -}}
app.kubernetes.io/name: kubevirt-hypervisor-exporter
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Takes the component's name and further labels. */}}
{{- define "labelsAnd" -}}
{{- toYaml (merge (include "labels" (index . 0) | fromYaml) (index . 1)) }}
{{- end }}

{{- define "image" -}}
{{- $image := .Values.image }}
{{- $tag := $image.tag }}
{{- if not (or $image.tag $image.digest) }}
{{- $tag = .Chart.AppVersion }}
{{- end }}
{{- $image.repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

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

{{/* The labels that select pods; they never change. Takes the component's name. */}}
{{- define "selector" -}}
app.kubernetes.io/name: kubevirt-hypervisor-exporter
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* The labels that every object of a release has, and no object of manifests. Takes the chart. */}}
{{- define "releaseLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of an object. Takes the chart and the component's name. */}}
{{- define "labels" -}}
{{ include "selector" (index . 1) }}
{{ include "releaseLabels" (index . 0) }}
{{- end }}

{{/* The manifest with the labels of a release. Takes the chart and the text of a file. */}}
{{- define "withLabels" -}}
{{- index . 1 | replace "\n  labels:\n" (printf "\n  labels:\n%s\n" (include "releaseLabels" (index . 0) | indent 4)) }}
{{- end }}

{{/* The image's name. A registry is a first part with a dot or a port, as for containerd; global.imageRegistry replaces it. */}}
{{- define "image" -}}
{{- $image := .Values.image }}
{{- $repository := $image.repository }}
{{- with .Values.global.imageRegistry }}
{{- $repository = printf "%s/%s" . (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") }}
{{- end }}
{{- $tag := $image.tag }}
{{- if not (or $image.tag $image.digest) }}
{{- $tag = .Chart.AppVersion }}
{{- end }}
{{- $repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/*
Names do not come from the release's name: there is one installation in a cluster, and alerts, runbooks and the
certificate process' rights go by these names. Only the namespaces can be chosen.
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

{{/* Takes the component's name, or a list of it and further labels. */}}
{{- define "labels" -}}
{{- $component := kindIs "slice" . | ternary (index . 0) . }}
{{- $further := kindIs "slice" . | ternary (index . 1) dict }}
{{- toYaml (merge (dict "app.kubernetes.io/name" "kubevirt-hypervisor-exporter" "app.kubernetes.io/component" $component) $further) }}
{{- end }}

{{/* Takes the chart and the image's name. */}}
{{- define "image" -}}
{{- $chart := index . 0 }}
{{- $image := index $chart.Values.images (index . 1) }}
{{- $tag := $image.tag | default ($image.digest | ternary "" $chart.Chart.AppVersion) }}
{{- $image.repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

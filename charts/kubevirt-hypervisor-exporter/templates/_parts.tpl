{{/* What can be said of any of our pods. Takes the chart and the values of the workload. */}}
{{- define "podOptions" -}}
{{- $chart := index . 0 }}
{{- $workload := index . 1 }}
{{- with $chart.Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . | quote }}
{{- end }}
{{- end }}
{{- with $workload.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $workload.tolerations }}
tolerations:
{{ toYaml . }}
{{- end }}
{{- with $workload.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The image of a container and when it is pulled. Takes the chart and the image's name. */}}
{{- define "containerImage" -}}
image: {{ include "image" . | quote }}
{{- with (index (index . 0).Values.images (index . 1)).pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{- define "restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* OpenShift gives each namespace a range of user ids of its own and refuses fixed ones. */}}
{{- define "podSecurity" -}}
runAsNonRoot: true
{{- if not .Values.openshift }}
runAsUser: 65532
runAsGroup: 65532
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* A rule that opens a port, to peers or, without any, to anyone. Takes the port and the peers. */}}
{{- define "ingressRule" -}}
- ports:
  - port: {{ index . 0 }}
  {{- with index . 1 }}
  from:
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "probes" -}}
readinessProbe:
  httpGet:
    path: /readyz
    port: health
livenessProbe:
  httpGet:
    path: /healthz
    port: health
{{- end }}

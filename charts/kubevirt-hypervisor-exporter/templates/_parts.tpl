{{/* Options of all pods. Takes the chart and the values of the workload. */}}
{{- define "podOptions" -}}
{{- $chart := index . 0 }}
{{- $workload := index . 1 }}
{{- with include "pullSecrets" $chart | fromYamlArray }}
imagePullSecrets:
{{- range . }}
- {{ dict "name" . | toYaml }}
{{- end }}
{{- end }}
{{- with $workload.priorityClassName }}
priorityClassName: {{ . }}
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

{{/* Names of the Secrets that our pods pull with. */}}
{{- define "pullSecrets" -}}
{{- $names := .Values.image.pullSecrets }}
{{- range .Values.global.imagePullSecrets }}
{{- if kindIs "string" . }}
{{- $names = append $names . }}
{{- else }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}
{{- uniq $names | toYaml }}
{{- end }}

{{/* Metadata of a pod: no service mesh puts a proxy in front of its port. Takes the chart, the component's name and its values. */}}
{{- define "podMetadata" -}}
{{- $chart := index . 0 }}
{{- $component := index . 1 }}
{{- $workload := index . 2 -}}
labels:
  {{- include "selector" $component | nindent 2 }}
  sidecar.istio.io/inject: "false"
  istio.io/dataplane-mode: none
  {{- with merge (deepCopy $workload.podLabels) $chart.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  {{- if ne $component "certs" }}
  kubectl.kubernetes.io/default-container: {{ $component }}
  {{- end }}
  linkerd.io/inject: disabled
  {{- with $workload.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Annotations of a ServiceAccount. Takes the values of the workload. */}}
{{- define "serviceAccountAnnotations" -}}
{{- with .serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* Further arguments of a container. Takes them. */}}
{{- define "extraArgs" -}}
{{- range . }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* The image of a container and when it is pulled. */}}
{{- define "containerImage" -}}
image: {{ include "image" . | quote }}
{{- with .Values.image.pullPolicy }}
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

{{/*
GOMEMLIMIT at 70 % of the memory limit, as in the manifests: the rest is for the kernel and for the pages of the binary,
which the kernel would otherwise read from disk again and again. Left out if there is no limit, or one with a fraction or a rare unit.
*/}}
{{- define "goMemoryLimit" -}}
{{- $limit := dig "limits" "memory" "" (. | default dict) | toString }}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 }}
{{- if regexMatch "^[0-9]+([kMG]|[KMG]i)?$" $limit }}
{{- $bytes := mul (regexFind "^[0-9]+" $limit) (index $units (regexFind "[a-zA-Z]*$" $limit)) -}}
- name: GOMEMLIMIT
  value: {{ div (mul $bytes 70) 104857600 }}MiB
{{- end }}
{{- end }}

{{/*
A self-signed CA and a certificate. Takes the chart, the namespace, the user (webhook or relay) and the name by which clients verify it.
The CA lasts ten years and keeps its key on renewal: its clients know one CA at a time.
*/}}
{{- define "certManagerCertificates" -}}
{{- $chart := index . 0 }}
{{- $namespace := index . 1 }}
{{- $whose := index . 2 }}
{{- $dnsName := index . 3 -}}
apiVersion: cert-manager.io/v1
kind: Issuer
metadata:
  name: hypervisor-exporter-selfsigned
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" (list $chart "certs") | nindent 4 }}
spec:
  selfSigned: {}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: hypervisor-exporter-{{ $whose }}-ca
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" (list $chart "certs") | nindent 4 }}
spec:
  secretName: hypervisor-exporter-{{ $whose }}-ca
  issuerRef:
    name: hypervisor-exporter-selfsigned
  isCA: true
  commonName: hypervisor-exporter-{{ $whose }}-ca
  duration: 87600h
  privateKey:
    algorithm: ECDSA
    rotationPolicy: Never
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata:
  name: hypervisor-exporter-{{ $whose }}
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" (list $chart "certs") | nindent 4 }}
spec:
  ca:
    secretName: hypervisor-exporter-{{ $whose }}-ca
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: hypervisor-exporter-{{ $whose }}
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" (list $chart "certs") | nindent 4 }}
spec:
  secretName: hypervisor-exporter-{{ $whose }}-tls
  issuerRef:
    name: hypervisor-exporter-{{ $whose }}
  dnsNames: [{{ $dnsName }}]
  usages: [digital signature, server auth]
  duration: 720h
  renewBefore: 240h
  privateKey:
    algorithm: ECDSA
    rotationPolicy: Always
{{- end }}

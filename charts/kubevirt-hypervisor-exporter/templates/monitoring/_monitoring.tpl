{{/*
Not empty if the objects of a kind of the Prometheus operator are wanted. Takes the chart, true, false or "auto", and the kind.
*/}}
{{- define "operatorHas" -}}
{{- $chart := index . 0 }}
{{- $enabled := index . 1 | toString }}
{{- $known := $chart.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 2)) }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") $known) }}true{{ end }}
{{- end }}

{{/*
Lets a VM's series keep the labels that the values' relabelings set, with the target's values and never with the page's: in the
way of target_cluster, which monitoring/scrape explains. Takes the endpoint, which it changes, and those relabelings.
*/}}
{{- define "guardLabels" -}}
{{- $target := index . 0 }}
{{- $labels := list }}
{{- range index . 1 }}
{{- if and .targetLabel (ne .targetLabel "cluster") (not (hasPrefix "__" .targetLabel)) }}
{{- $labels = append $labels .targetLabel }}
{{- end }}
{{- end }}
{{- range $label := uniq $labels }}
{{- $guard := printf "target_%s" $label }}
{{- $_ := set $target "relabelings" (append $target.relabelings (dict "sourceLabels" (list $label) "targetLabel" $guard "replacement" "=$1")) }}
{{- range $target.metricRelabelings }}
{{- if eq (get . "action") "labelkeep" }}
{{- $_ := set . "regex" (printf "%s|%s" .regex $label) }}
{{- end }}
{{- end }}
{{- $_ := set $target "metricRelabelings" (prepend $target.metricRelabelings (dict "sourceLabels" (list $guard) "regex" "=(.*)" "targetLabel" $label)) }}
{{- end }}
{{- end }}

{{- define "whippet.name" -}}
{{- if contains "whippet" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-whippet{{ end }}
{{- end }}

{{- define "whippet.selector" -}}
app.kubernetes.io/name: whippet
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "whippet.labels" -}}
{{ include "whippet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "whippet.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "whippet.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "whippet.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

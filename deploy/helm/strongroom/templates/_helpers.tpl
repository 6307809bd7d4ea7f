{{- define "strongroom.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "strongroom.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "strongroom.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "strongroom.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "strongroom.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "strongroom.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "strongroom.configMap" -}}
{{- default (printf "%s-config" (include "strongroom.fullname" .)) .Values.existingConfigMap }}
{{- end }}

{{/* The claim in which `monitor` remembers what it told; nothing where there is none. */}}
{{- define "strongroom.monitorState" -}}
{{- with .Values.monitor.state }}
{{- if .existingClaim }}{{ .existingClaim }}
{{- else if .enabled }}{{ include "strongroom.fullname" $ }}-monitor
{{- end }}
{{- end }}
{{- end }}

{{- define "strongroom.image" -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ .tag }}
{{- end }}
{{- end }}

{{/* Ends that another try does not mend: usage, done in part, damage, no access, no such snapshot. */}}
{{- define "strongroom.podFailurePolicy" -}}
podFailurePolicy:
  rules:
    # A node that goes away is no failure of the backup.
    - action: Ignore
      onPodConditions:
        - {type: DisruptionTarget, status: "True"}
    - action: {{ .action }}
      onExitCodes:
        operator: In
        values: [2, 3, 4, 5, 6]
{{- end }}

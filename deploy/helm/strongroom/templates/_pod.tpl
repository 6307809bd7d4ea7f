{{/*
A pod's specification. root: the context; job: what this pod says for itself; args; first: what is run before that; state: a claim of
what outlives the pod.
*/}}
{{- define "strongroom.pod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .job.serviceAccountName | default (include "strongroom.serviceAccount" .root) }}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: {{ .restartPolicy | default "Never" }}
# What runs is told to stop, has a minute for its hooks (the node that `pre` stopped is started again), and says in the journal how it
# ended.
terminationGracePeriodSeconds: 120
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml (.job.podSecurityContext | default $values.podSecurityContext) | nindent 2 }}
{{- with .job.nodeSelector | default $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .job.tolerations | default $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .job.affinity | default $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .first }}
initContainers:
  - name: part
    args: {{- toYaml .first | nindent 6 }}
    {{- include "strongroom.container" . | nindent 4 }}
{{- end }}
containers:
  - name: strongroom
    args: {{- toYaml .args | nindent 6 }}
    {{- include "strongroom.container" . | nindent 4 }}
    {{- with .container }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "strongroom.configMap" .root }}
  - name: cache
    {{- if $values.cache.existingClaim }}
    persistentVolumeClaim: {claimName: {{ $values.cache.existingClaim }}}
    {{- else }}
    emptyDir: {sizeLimit: {{ $values.cache.sizeLimit }}}
    {{- end }}
  - name: scratch
    {{- if $values.scratch.existingClaim }}
    persistentVolumeClaim: {claimName: {{ $values.scratch.existingClaim }}}
    {{- else }}
    emptyDir: {sizeLimit: {{ $values.scratch.sizeLimit }}}
    {{- end }}
  - name: state
    {{- if .state }}
    persistentVolumeClaim: {claimName: {{ .state }}}
    {{- else }}
    emptyDir: {sizeLimit: 1Gi}
    {{- end }}
  - name: tmp
    emptyDir: {sizeLimit: 1Gi}
  {{- range $name, $of := dict "passphrase" $values.repository.passphrase "key-file" $values.repository.keyFile }}
  {{- if $of.secret }}
  - name: {{ $name }}
    secret:
      secretName: {{ $of.secret }}
      # The group's alone: fsGroup.
      defaultMode: 0440
      items: [{key: {{ $of.key }}, path: {{ $name }}}]
  {{- end }}
  {{- end }}
  {{- with concat $values.volumes (.job.volumes | default list) (.volumes | default list) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What every container of these pods has. */}}
{{- define "strongroom.container" -}}
{{- $values := .root.Values -}}
{{- $image := mergeOverwrite (dict "tag" .root.Chart.AppVersion) (omit $values.image (ternary "" "tag" (ne $values.image.tag ""))) (.job.image | default dict) -}}
image: {{ include "strongroom.image" $image | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
securityContext: {{- toYaml (.job.securityContext | default $values.securityContext) | nindent 2 }}
resources: {{- toYaml (.job.resources | default $values.resources) | nindent 2 }}
env:
  - {name: STRONGROOM_CONFIG, value: /etc/strongroom/strongroom.toml}
  - {name: STRONGROOM_HOST, value: {{ $values.host | quote }}}
  - {name: STRONGROOM_MEMORY, value: {{ $values.memory | quote }}}
  - {name: STRONGROOM_CACHE_DIR, value: /var/cache/strongroom}
  - {name: STRONGROOM_STATE_DIR, value: /var/lib/strongroom}
  - {name: STRONGROOM_SCRATCH_DIR, value: /scratch}
  - {name: HOME, value: /tmp}
  {{- with $values.repository.fingerprint }}
  - {name: STRONGROOM_FINGERPRINT, value: {{ . | quote }}}
  {{- end }}
  {{- if $values.repository.passphrase.secret }}
  - {name: STRONGROOM_PASSPHRASE_FILE, value: /run/secrets/strongroom/passphrase/passphrase}
  {{- end }}
  {{- if $values.repository.keyFile.secret }}
  - {name: STRONGROOM_KEY_FILE, value: /run/secrets/strongroom/key-file/key-file}
  {{- end }}
  {{- with concat $values.env (.job.env | default list) (.env | default list) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: config, mountPath: /etc/strongroom, readOnly: true}
  - {name: cache, mountPath: /var/cache/strongroom}
  - {name: scratch, mountPath: /scratch}
  - {name: state, mountPath: /var/lib/strongroom}
  - {name: tmp, mountPath: /tmp}
  {{- range $name, $of := dict "passphrase" $values.repository.passphrase "key-file" $values.repository.keyFile }}
  {{- if $of.secret }}
  - {name: {{ $name }}, mountPath: /run/secrets/strongroom/{{ $name }}, readOnly: true}
  {{- end }}
  {{- end }}
  {{- with concat $values.volumeMounts (.job.volumeMounts | default list) (.mounts | default list) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

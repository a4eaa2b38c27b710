{{- define "kubeherald.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "kubeherald.fullname" -}}
{{- $name := include "kubeherald.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of what has no namespace: two releases of one name in two namespaces must not share it. */}}
{{- define "kubeherald.clusterName" -}}
{{- $name := include "kubeherald.fullname" . -}}
{{- if eq .Release.Namespace $name -}}{{ $name }}{{- else -}}{{ printf "%s-%s" .Release.Namespace $name }}{{- end -}}
{{- end -}}

{{- define "kubeherald.selector" -}}
app.kubernetes.io/name: {{ include "kubeherald.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kubeherald.labels" -}}
{{ include "kubeherald.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "kubeherald.serviceAccount" -}}
{{- default (ternary (include "kubeherald.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "kubeherald.priorityClass" -}}
{{- default (ternary (include "kubeherald.clusterName" .) "" .Values.priorityClass.create) .Values.priorityClass.name -}}
{{- end -}}

{{- define "kubeherald.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* kubeherald.yaml */}}
{{- define "kubeherald.config" -}}
{{- $config := dict "cluster" .Values.cluster -}}
{{- range $key := list "receivers" "routes" "overrides" -}}
{{- with index $.Values $key -}}{{- $_ := set $config $key . -}}{{- end -}}
{{- end -}}
{{- with .Values.namespaces -}}
{{- $_ := set $config "watch" (dict "namespaces" (dict "include" .)) -}}
{{- end -}}
{{- $_ := set $config "rules" (dict "dir" "../rules") -}}
{{- $_ := set $config "store" (dict "path" "/var/lib/kubeherald/kubeherald.db") -}}
{{- $_ := set $config "http" (dict "listen" "0.0.0.0:8080") -}}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.config)) -}}
{{- end -}}

{{/* What every container of the bot may do: nothing. */}}
{{- define "kubeherald.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "kubeherald.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kubeherald.configMounts" -}}
- name: config
  mountPath: /etc/kubeherald/config
  readOnly: true
- name: rules
  mountPath: /etc/kubeherald/rules
  readOnly: true
- name: secrets
  mountPath: /etc/kubeherald/secrets
  readOnly: true
{{- end -}}

{{- define "kubeherald.configVolumes" -}}
- name: config
  configMap:
    name: {{ include "kubeherald.fullname" . }}-config
- name: rules
  configMap:
    name: {{ include "kubeherald.fullname" . }}-rules
- name: secrets
{{- if eq (len .Values.secrets) 1 }}
  secret:
    secretName: {{ first .Values.secrets }}
    optional: true
    defaultMode: 288 # 0440
{{- else if not .Values.secrets }}
  emptyDir: {}
{{- else }}
  projected:
    defaultMode: 288 # 0440
    sources:
      {{- range .Values.secrets }}
      - secret: {name: {{ . }}, optional: true}
      {{- end }}
{{- end }}
{{- end -}}

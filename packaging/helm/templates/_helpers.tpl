{{/* The name of everything in this release. */}}
{{- define "p2p.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What selects a part: never changed once it is installed. */}}
{{- define "p2p.selector" -}}
app.kubernetes.io/name: {{ default .context.Chart.Name .context.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "p2p.labels" -}}
{{ include "p2p.selector" . }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "p2p.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "p2p.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "p2p.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Where peers find the trackers: a name that resolves to all that are ready. */}}
{{- define "p2p.trackerHost" -}}
{{- if .Values.tracker.enabled -}}
{{ include "p2p.fullname" . }}-tracker.{{ .Release.Namespace }}.svc
{{- else -}}
{{- required "node.trackerHost: name a tracker, or run one with tracker.enabled" .Values.node.trackerHost -}}
{{- end -}}
{{- end -}}

{{/* Contradictions that a schema cannot see. */}}
{{- define "p2p.check" -}}
{{- if and .Values.containerd.enabled .Values.node.enabled (not .Values.node.hostNetwork) -}}
{{- fail "containerd.enabled needs node.hostNetwork: containerd asks the gateway at 127.0.0.1 of its node" -}}
{{- end -}}
{{- if and .Values.containerd.enabled (ne .Values.node.command "gateway") -}}
{{- fail "containerd.enabled needs node.command gateway" -}}
{{- end -}}
{{- if and .Values.containerd.enabled (not .Values.node.enabled) -}}
{{- fail "containerd.enabled needs node.enabled" -}}
{{- end -}}
{{- if and .Values.node.enabled (eq .Values.node.command "gateway") .Values.node.storage.sizeLimit -}}
{{- $limit := include "p2p.mebibytes" .Values.node.storage.sizeLimit -}}
{{- $cache := include "p2p.mebibytes" .Values.gateway.cache -}}
{{- if not .Values.gateway.cache -}}
{{- fail "node.storage.sizeLimit needs gateway.cache: kubelet evicts the pod that fills its volume" -}}
{{- end -}}
{{- if and $limit $cache (ge (int64 $cache) (int64 $limit)) -}}
{{- fail "gateway.cache must be less than node.storage.sizeLimit: what is on its way comes on top" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.node.enabled (include "p2p.needsToken" .) (not .Values.gateway.tokenSecret) -}}
{{- fail "what other pods reach, and a daemon, need a token: name its Secret in gateway.tokenSecret" -}}
{{- end -}}
{{- end -}}

{{/* Whole MiB of a size as 200Gi or 20GiB; nothing for other units. */}}
{{- define "p2p.mebibytes" -}}
{{- $number := regexFind "^[0-9]+" . -}}
{{- $unit := regexFind "[A-Za-z]+$" . | trimSuffix "B" -}}
{{- if and $number (hasKey (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) $unit) (not (contains "." .)) -}}
{{- mul (int64 $number) (get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) $unit) -}}
{{- end -}}
{{- end -}}

{{/* Whether a node's peer listens for HTTP clients. */}}
{{- define "p2p.listens" -}}
{{- if or (eq .Values.node.command "gateway") .Values.gateway.withDaemon -}}true{{- end -}}
{{- end -}}

{{/* Whether those must know a token. */}}
{{- define "p2p.needsToken" -}}
{{- if and (include "p2p.listens" .) (or (not .Values.node.hostNetwork) (eq .Values.node.command "daemon")) -}}true{{- end -}}
{{- end -}}

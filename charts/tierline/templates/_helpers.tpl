{{- define "tierline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "tierline.fullname" -}}
{{- if contains (include "tierline.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tierline.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tierline.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: tierline
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "tierline.selectorLabels" . }}
{{- end }}

{{- define "tierline.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tierline.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- /* What the operator may do with namespaced objects; one list for the ClusterRole and the Roles. docs/rbac.md says why. */ -}}
{{- define "tierline.namespacedRules" -}}
- apiGroups: ["tierline.dev"]
  resources: ["llmfleets", "tenantquotas", "workerpools", "loraadapters", "fleetdrills"]
  verbs: ["list", "watch"]
- apiGroups: ["tierline.dev"]
  resources: ["llmfleets", "fleetdrills"]
  verbs: ["patch"]
- apiGroups: ["tierline.dev"]
  resources: ["workerpools"]
  verbs: ["create", "patch", "delete"]
- apiGroups: ["tierline.dev"]
  resources: ["workerpools/scale"]
  verbs: ["patch"]
- apiGroups: ["tierline.dev"]
  resources: ["llmfleets/status", "workerpools/status", "tenantquotas/status", "loraadapters/status", "fleetdrills/status"]
  verbs: ["patch"]
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["list", "watch", "create", "patch", "delete"]
- apiGroups: [""]
  resources: ["services", "serviceaccounts"]
  verbs: ["get", "list", "watch", "create", "patch"]
- apiGroups: [""]
  resources: ["secrets"]
  verbs: ["get"]
- apiGroups: [""]
  resources: ["events"]
  verbs: ["create"]
- apiGroups: ["apps"]
  resources: ["deployments"]
  verbs: ["get", "list", "watch", "create", "patch"]
- apiGroups: ["apps"]
  resources: ["controllerrevisions"]
  verbs: ["list", "watch", "create", "delete"]
- apiGroups: ["policy"]
  resources: ["poddisruptionbudgets"]
  verbs: ["list", "watch", "create", "patch"]
- apiGroups: ["rbac.authorization.k8s.io"]
  resources: ["roles", "rolebindings"]
  verbs: ["get", "list", "watch", "create", "patch"]
{{- end }}

{{- /* Restricted pod security, the same for every container of the chart. */ -}}
{{- define "tierline.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: ["ALL"]
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* Marks what exists only while the release is being uninstalled. */ -}}
{{- define "tierline.cleanupHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{
# node.sh
alone
same_token server-token /etc/rancher/k3s/token K10CA::server:SERVER-TOKEN
same_token agent-token /etc/rancher/k3s/agent-token AGENT-TOKEN
cloud_init_done
no_upgrades_at_night
ca=()
sysctls vm.panic_on_oom=0 vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1
k3s_binary v1.36.4+k3s1 https://github.com/k3s-io/k3s/releases/download -
joiner https://10.9.0.30:6443 K10CA::server:SERVER-TOKEN
put 0600 /etc/rancher/k3s/agent-token <<'LYCEUM_END_OF_FILE'
AGENT-TOKEN
LYCEUM_END_OF_FILE
put 0600 /etc/rancher/k3s/admission.yaml <<'LYCEUM_END_OF_FILE'
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults:
      enforce: restricted
      audit: restricted
      warn: restricted
      enforce-version: latest
      audit-version: latest
      warn-version: latest
    exemptions:
      usernames: []
      runtimeClasses: []
      namespaces:
      - kube-system
- name: EventRateLimit
  configuration:
    apiVersion: eventratelimit.admission.k8s.io/v1alpha1
    kind: Configuration
    limits:
    - type: Namespace
      qps: 50
      burst: 100
      cacheSize: 2000
    - type: User
      qps: 10
      burst: 50
LYCEUM_END_OF_FILE
put 0600 /etc/rancher/k3s/audit.yaml <<'LYCEUM_END_OF_FILE'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages:
- RequestReceived
rules:
- level: Metadata
LYCEUM_END_OF_FILE
put 0644 /etc/rancher/k3s/resolv.conf <<'LYCEUM_END_OF_FILE'
nameserver 10.9.0.2
nameserver 10.9.0.3
LYCEUM_END_OF_FILE
put 0600 /etc/rancher/k3s/config.yaml <<'LYCEUM_END_OF_FILE'
node-name: server-2
node-ip: 10.9.0.32
node-label:
- topology.rook.io/chassis=pve2
node-taint:
- node-role.kubernetes.io/control-plane=true:NoSchedule
protect-kernel-defaults: true
kubelet-arg:
- kube-reserved=cpu=330m,memory=3065Mi
- system-reserved=cpu=100m,memory=256Mi
- eviction-hard=memory.available<100Mi,nodefs.available<5%,imagefs.available<5%
- sync-frequency=10s
- streaming-connection-idle-timeout=5m
- read-only-port=0
- pod-max-pids=4096
- tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
resolv-conf: /etc/rancher/k3s/resolv.conf
token-file: /etc/rancher/k3s/token
agent-token-file: /etc/rancher/k3s/agent-token
tls-san:
- 10.9.0.30
write-kubeconfig-mode: '0600'
flannel-backend: vxlan
cluster-cidr: 10.42.0.0/16
service-cidr: 10.43.0.0/16
disable:
- local-storage
- runtimes
- servicelb
- traefik
secrets-encryption: true
etcd-expose-metrics: true
etcd-snapshot-schedule-cron: 0 */6 * * *
etcd-snapshot-retention: 5
kube-apiserver-arg:
- enable-admission-plugins=NodeRestriction,EventRateLimit,DenyServiceExternalIPs
- admission-control-config-file=/etc/rancher/k3s/admission.yaml
- audit-policy-file=/etc/rancher/k3s/audit.yaml
- audit-log-path=/var/lib/rancher/k3s/server/logs/audit.log
- audit-log-maxage=30
- audit-log-maxbackup=10
- audit-log-maxsize=100
- service-account-extend-token-expiration=false
kube-controller-manager-arg:
- terminated-pod-gc-threshold=100
LYCEUM_END_OF_FILE
install -d -m 0700 /var/lib/rancher/k3s/server/logs
kube_vip /var/lib/rancher/k3s/server/manifests/kube-vip.yaml 10.9.0.32 <<'LYCEUM_END_OF_FILE'
apiVersion: v1
kind: ServiceAccount
metadata:
  name: kube-vip
  namespace: kube-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kube-vip
rules:
- apiGroups:
  - ''
  resources:
  - nodes
  - endpoints
  - services
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - patch
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kube-vip
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: kube-vip
subjects:
- kind: ServiceAccount
  name: kube-vip
  namespace: kube-system
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: kube-vip
  namespace: kube-system
  labels: &id001
    app.kubernetes.io/name: kube-vip
spec:
  selector:
    matchLabels: *id001
  template:
    metadata:
      labels: *id001
    spec:
      serviceAccountName: kube-vip
      hostNetwork: true
      priorityClassName: system-node-critical
      nodeSelector:
        node-role.kubernetes.io/control-plane: 'true'
      tolerations:
      - operator: Exists
      containers:
      - name: kube-vip
        image: ghcr.io/kube-vip/kube-vip:v1.2.3
        args:
        - manager
        env:
        - name: vip_arp
          value: 'true'
        - name: cp_enable
          value: 'true'
        - name: svc_enable
          value: 'false'
        - name: vip_leaderelection
          value: 'true'
        - name: vip_leasename
          value: plndr-cp-lock
        - name: cp_namespace
          value: kube-system
        - name: address
          value: 10.9.0.30
        - name: port
          value: '6443'
        - name: vip_interface
          value: LYCEUM_INTERFACE
        - name: vip_subnet
          value: '32'
        securityContext:
          capabilities:
            drop:
            - ALL
            add:
            - NET_ADMIN
            - NET_RAW
LYCEUM_END_OF_FILE
put 0644 /etc/systemd/system/k3s.service <<'LYCEUM_END_OF_FILE'
[Unit]
Description=Lightweight Kubernetes (server)
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s server
LYCEUM_END_OF_FILE
service k3s
wait_until 120 'the API at https://10.9.0.30:6443' api_answers https://10.9.0.30:6443 || fail 'kube-vip does not hold https://10.9.0.30:6443'
healthy_server server-2
backup_access lyceum-backup /var/lib/lyceum-backup
exit
} </dev/null

{
# node.sh
alone
same_token agent-token /etc/rancher/k3s/token K10CA::node:AGENT-TOKEN
cloud_init_done
no_upgrades_at_night
ca=()
sysctls vm.panic_on_oom=0 vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1
k3s_binary v1.36.4+k3s1 https://github.com/k3s-io/k3s/releases/download -
joiner https://10.9.0.30:6443 K10CA::node:AGENT-TOKEN
put 0644 /etc/rancher/k3s/resolv.conf <<'LYCEUM_END_OF_FILE'
nameserver 10.9.0.2
nameserver 10.9.0.3
LYCEUM_END_OF_FILE
put 0600 /etc/rancher/k3s/config.yaml <<'LYCEUM_END_OF_FILE'
node-name: gpu-1
node-ip: 10.9.0.41
node-label:
- accelerator=nvidia
- gpu-model=a100
- lyceum.io/ceph=true
- lyceum.io/gpu-model=a100-40gb
- scratch=nvme
- topology.rook.io/chassis=pve1
node-taint: []
protect-kernel-defaults: true
kubelet-arg:
- kube-reserved=cpu=115m,memory=1465Mi
- system-reserved=cpu=100m,memory=256Mi
- eviction-hard=memory.available<100Mi,nodefs.available<5%,imagefs.available<5%
- sync-frequency=10s
- streaming-connection-idle-timeout=5m
- read-only-port=0
- pod-max-pids=4096
- tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
resolv-conf: /etc/rancher/k3s/resolv.conf
token-file: /etc/rancher/k3s/token
LYCEUM_END_OF_FILE
put 0644 /etc/systemd/system/k3s-agent.service <<'LYCEUM_END_OF_FILE'
[Unit]
Description=Lightweight Kubernetes (agent)
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
ExecStart=/usr/local/bin/k3s agent
LYCEUM_END_OF_FILE
service k3s-agent
exit
} </dev/null

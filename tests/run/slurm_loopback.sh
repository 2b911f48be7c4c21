#!/bin/sh
# A SLURM of one node on loopback, for trying batch clusters without one:
#
#     slurm_loopback.sh start FOLDER     then   export SLURM_CONF=FOLDER/slurm.conf
#     slurm_loopback.sh stop FOLDER
#
# It needs slurmctld, slurmd and sbatch (Debian: slurmctld slurmd slurm-client), but neither munge nor systemd,
# and listens on free ports of 127.0.0.1. Everything it writes is in FOLDER.
set -eu

action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
conf="$folder/slurm.conf"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

stepd() {
    for path in /usr/sbin/slurmstepd /usr/lib/slurm/slurmstepd /usr/libexec/slurm/slurmstepd; do
        if [ -x "$path" ]; then echo "$path"; return; fi
    done
    command -v slurmstepd
}

write_conf() {
    mkdir -p "$folder/state" "$folder/spool"
    # proctrack/pgid would leave jobs completing for ever; linuxproc needs no cgroups.
    cat >"$conf" <<EOF
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
# With auth/none whoever reaches a port can run jobs: listen on the addresses above only.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=node1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$((
        $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024)) State=UNKNOWN
PartitionName=main Nodes=node1 Default=YES MaxTime=02:00:00 State=UP
EOF
}

start() {
    write_conf
    export SLURM_CONF="$conf"
    slurmctld -D -c -f "$conf" >"$folder/slurmctld.out" 2>&1 &
    echo $! >"$folder/started.pids"
    slurmd -D -N node1 -d "$(stepd)" -f "$conf" >"$folder/slurmd.out" 2>&1 &
    echo $! >>"$folder/started.pids"
    for _ in $(seq 100); do
        if sinfo -h -o %t 2>/dev/null | grep -q '^idle'; then return; fi
        sleep 0.2
    done
    echo "slurm_loopback: the node did not come up; see the logs in $folder" >&2
    sinfo >&2 || true
    stop
    exit 1
}

stop() {
    export SLURM_CONF="$conf"
    scancel --user="$(id -un)" 2>/dev/null || true
    if [ -f "$folder/started.pids" ]; then
        while read -r pid; do kill "$pid" 2>/dev/null || true; done <"$folder/started.pids"
        rm -f "$folder/started.pids"
    fi
}

case $action in
start) start ;;
stop) stop ;;
*) echo "usage: slurm_loopback.sh start|stop FOLDER" >&2; exit 2 ;;
esac

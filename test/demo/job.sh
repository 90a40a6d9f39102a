#!/bin/sh
# What every client of the demo runs under `signalbox run`: writes to the guarded file with the token of its lease. It
# knows nothing of leases. Usage: job.sh DIRECTORY SECONDS
set -u
directory=$1 seconds=$2

write() {
  if "$(dirname "$0")/resource.sh" "$directory" "$1" "$SIGNALBOX_FENCING_TOKEN" "$SIGNALBOX_SLOT" "$SIGNALBOX_HOLDER"; then
    echo "job: $1 $SIGNALBOX_FENCING_TOKEN $SIGNALBOX_SLOT"
  else
    echo "job: refused $SIGNALBOX_FENCING_TOKEN $SIGNALBOX_SLOT"
  fi
}

trap 'write cut; exit 143' TERM
write begin
sleep "$seconds"
write end

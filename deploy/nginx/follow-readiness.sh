#!/bin/sh
# Has nginx send requests only to servers whose /readyz answers 200: it has no health check of its own.
# usage: follow-readiness.sh FILE PID_FILE HOST:PORT ...
#   FILE      what the configuration includes inside `upstream sightline { … }`
#   PID_FILE  where nginx writes its process id; it is reloaded when FILE changes
# EVERY_S is the time between looks, 0.5 s. A server that stops says so for SIGHTLINE_SHUTDOWN_NOTICE_MS (2 s) and serves on
# meanwhile, so nobody meets a server that is gone, or one that still loads its models.
set -eu
file=$1 pid_file=$2
shift 2

upstreams() {
    for server in "$@"; do
        status=$(curl --silent --output /dev/null --max-time 1 --write-out '%{http_code}' "http://$server/readyz" || true)
        [ "$status" = 200 ] && down= || down=' down'
        echo "server $server max_fails=0$down;"
    done
}

while true; do
    found=$(upstreams "$@")
    case $found in
        *max_fails=0\;*) ;;
        *) found=$(echo "$found" | sed 's/ down;/;/') ;;  # nobody is ready: whoever answers says why
    esac
    if [ "$found" != "$(cat "$file" 2>/dev/null)" ]; then
        echo "$found" >"$file.new" && mv "$file.new" "$file"
        [ ! -s "$pid_file" ] || kill -HUP "$(cat "$pid_file")"
    fi
    sleep "${EVERY_S:-0.5}"
done

#!/usr/bin/env bash
# Builds deploy/Dockerfile from a Bento of this checkout.
# usage: deploy/build.sh [BENTO] [IMAGE] [OPTION OF docker build ...]
#        deploy/build.sh sightline:latest sightline:0.1.0 --network host
# BENTOML and DOCKER name the programs; DOCKERFILE and REQUIREMENTS other files, as deploy/Dockerfile.gpu wants.
#
# The build context that the Dockerfile expects:
#   app/              the Bento's code and models; without model.keras, which OpenVINO does not read, unless KEEP_KERAS is set
#   requirements.txt  what serving needs, each line with hashes
#   sbom.txt          what writes the bill of materials, each line with hashes
#   health.py         what the health check runs
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bento=${1:-sightline:latest} image=${2:-sightline:latest}
shift $(($# < 2 ? $# : 2))
bentoml=${BENTOML:-$here/../.venv/bin/bentoml} docker=${DOCKER:-docker} dockerfile=${DOCKERFILE:-$here/Dockerfile}
python=$(dirname "$bentoml")/python

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
folder=$("$bentoml" get "$bento" --output path | tr -d '\n')  # a long path is wrapped
cp -R "$folder/src" "$context/app"
echo "${COMMIT:-$(git -C "$here" rev-parse HEAD)}" >"$context/app/COMMIT"  # /v1/server says it
[ -n "${KEEP_KERAS:-}" ] || rm -f "$context"/app/models/*/*/model.keras
cp "$here/../requirements/sbom.txt" "$here/health.py" "$context/"
# BentoML appends its own requirement without a hash, although the line with hashes is there already.
grep -vxE 'bentoml==[0-9.]+' "${REQUIREMENTS:-$folder/env/python/requirements.txt}" >"$context/requirements.txt"

# The commit's time, so that the same commit gives the same layers.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct)}
# What `docker inspect` says of the image: where it comes from, and each model with its accuracy.
models=$("$python" - "$context"/app/models/*/*/card.json <<'PYTHON'
import json, sys

cards = [json.load(open(path, encoding="utf-8")) for path in sys.argv[1:]]
scores = [(card, *next((s, card["metrics"][s]) for s in ("test", "validation") if s in card["metrics"])) for card in cards]
print(json.dumps([{"model": card["name"], "version": card["version"], "accuracy": round(score["accuracy"], 4),
                   "split": split, "images": score["images"]} for card, split, score in scores]))
PYTHON
)
label=org.opencontainers.image
labels=(--label "$label.title=sightline" --label "$label.description=Image classifiers over HTTP" --label "$label.licenses=MIT"
    --label "$label.version=${VERSION:-$(sed -n 's/^VERSION = "\(.*\)"/\1/p' "$context/app/service/client/version.py")}"
    --label "$label.revision=${COMMIT:-$(git -C "$here" rev-parse HEAD)}"
    --label "$label.created=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
    --label "sightline.bento=${folder##*/}" --label "sightline.models=$models")
DOCKER_BUILDKIT=1 "$docker" build --file "$dockerfile" --tag "$image" --build-arg SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
    "${labels[@]}" "$@" "$context"

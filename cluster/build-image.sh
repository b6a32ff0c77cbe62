#!/usr/bin/env bash
# Build cluster/Dockerfile without a container engine: buildah in a chroot, on a base that debootstrap makes. As root:
#
#   cluster/build-image.sh [MORE ARGUMENTS OF buildah build, such as --build-arg VARIANT=cpu]
#
# Then runs the image's entry points and says how large it is. Needs buildah and debootstrap; PIP_CONFIG_FILE, if set,
# is what pip is configured with inside.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml")
image=rmt-sweeps:$version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}

if ! buildah inspect --type image localhost/rmt-base > /dev/null 2>&1; then
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base" > "$work/log" \
    || { tail "$work/log" >&2; exit 1; }
  rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/*
  base=$(buildah from scratch)
  buildah copy --quiet "$base" "$work/base" /
  buildah commit --quiet --rm "$base" localhost/rmt-base
fi

configuration=()
[ -z "${PIP_CONFIG_FILE:-}" ] || configuration=(--volume "$PIP_CONFIG_FILE:/etc/pip.conf:ro")
began=$SECONDS
buildah build --format docker --layers --build-arg BASE=localhost/rmt-base "${configuration[@]}" "$@" \
  --file "$here/cluster/Dockerfile" --tag "$image" "$here"
echo "built $image in $((SECONDS - began)) s"

container=$(buildah from "$image")
trap 'buildah rm "$container" > /dev/null; rm -rf "$work"' EXIT
for command in "python -m cluster --help" "python -m cluster serve ray-head --help" "sweeps --help" \
  "ray --version" "mlflow --version" "id --user"; do
  # shellcheck disable=SC2086 - the words are meant to part
  echo "$command: $(buildah run "$container" -- $command 2>&1 | grep '[^[:space:]]' | head -n 1)"
done
root=$(buildah mount "$container")
cuda=(--exclude=nvidia --exclude=triton --exclude=site-packages/cuda --exclude=libtorch_cuda\*
  --exclude=libc10_cuda\* --exclude=libtorch_nvshmem\*)
megabytes() { du --summarize --block-size=MB "$@" "$root" | cut -f 1; }
echo "unpacked $(megabytes "${cuda[@]}") without CUDA libraries, $(megabytes) with them"
buildah umount "$container" > /dev/null

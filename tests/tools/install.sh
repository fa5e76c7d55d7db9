#!/usr/bin/env bash
# Installs the encoders, players and balancers that the end-to-end tests use:
#   Debian packages  ffmpeg, rtmpdump, GStreamer, HAProxy, iproute2, nftables  (when root, or with sudo that asks nothing)
#                    with the argument `drill` also nginx with its RTMP module
#   .tools/bin       ffmpeg9 (inside the Python package imageio-ffmpeg), grpcurl (with `go install`)
# What is there already is left alone. What cannot be installed is named with its reason; with CI=true that is a failure,
# otherwise the tests that need it say that they were skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."

for=${1:-tests}
tools=$PWD/.tools
mkdir -p "$tools/bin"
export PATH="$tools/bin:$PATH"

imageio_ffmpeg=0.8.1
grpcurl=v1.9.3

has() { command -v "$1" >/dev/null 2>&1; }

# The package of each Debian program; GStreamer's plugin sets are told by one element each.
missing_packages() {
    has ffmpeg || echo ffmpeg
    has rtmpdump || echo rtmpdump
    has haproxy || has /usr/sbin/haproxy || echo haproxy
    has ip || has /usr/sbin/ip || has /sbin/ip || echo iproute2
    has nft || has /usr/sbin/nft || echo nftables
    [ "$for" != drill ] || [ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ] || printf '%s\n' nginx-light libnginx-mod-rtmp
    has gst-launch-1.0 || echo gstreamer1.0-tools
    local element
    for element in base:decodebin good:souphttpsrc bad:rtmp2src; do
        has gst-inspect-1.0 && gst-inspect-1.0 "${element#*:}" >/dev/null 2>&1 || echo "gstreamer1.0-plugins-${element%%:*}"
    done
}

install_packages() {
    local -a missing as_root
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -eq 0 ] && return
    if ! has apt-get; then
        echo "tools: ${missing[*]}: not installed, this system has no apt-get"
        return
    elif [ "$(id -u)" -eq 0 ]; then
        as_root=(env)
    elif has sudo && sudo -n true 2>/dev/null; then
        as_root=(sudo -n env)
    else
        echo "tools: ${missing[*]}: not installed, that needs root or a sudo without password"
        return
    fi
    echo "tools: installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq || echo "tools: apt-get update failed; trying with the lists at hand"
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null ||
        echo "tools: apt-get could not install: ${missing[*]}"
}

install_ffmpeg9() {
    [ -x "$tools/bin/ffmpeg9" ] && return
    if ! has python3 || ! python3 -m pip --version >/dev/null 2>&1; then
        echo "tools: ffmpeg9: not installed, that needs python3 with pip"
        return
    fi
    local wheels=$tools/wheels
    echo "tools: fetching ffmpeg 9 out of imageio-ffmpeg $imageio_ffmpeg"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$wheels" "imageio-ffmpeg==$imageio_ffmpeg" || {
        echo "tools: ffmpeg9: pip could not download imageio-ffmpeg $imageio_ffmpeg"
        return
    }
    python3 - "$wheels" "$tools/bin/ffmpeg9" <<'PYTHON'
import glob, os, shutil, sys, zipfile

wheels, target = sys.argv[1:]
with zipfile.ZipFile(glob.glob(wheels + "/imageio_ffmpeg-*.whl")[0]) as wheel:
    name = next(n for n in wheel.namelist() if "/binaries/ffmpeg-" in n)
    with wheel.open(name) as source, open(target + ".part", "wb") as out:
        shutil.copyfileobj(source, out)
os.chmod(target + ".part", 0o755)
os.rename(target + ".part", target)
PYTHON
    rm -rf "$wheels"
}

install_grpcurl() {
    has grpcurl && return
    if ! has go; then
        echo "tools: grpcurl: not installed, that needs Go"
        return
    fi
    echo "tools: building grpcurl $grpcurl"
    GOBIN="$tools/bin" go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl" ||
        echo "tools: grpcurl: go install failed"
}

# Every program must also start: a file for another system does not count.
report() {
    local lacking=0 row program probe
    for row in \
        'ffmpeg:ffmpeg -version' 'ffmpeg9:ffmpeg9 -version' 'rtmpdump:rtmpdump --help' \
        'gstreamer:gst-inspect-1.0 rtmp2src' 'gstreamer-http:gst-inspect-1.0 souphttpsrc' \
        'haproxy:haproxy -v' 'iproute2:ip -V' 'nftables:nft -v' 'grpcurl:grpcurl -version'; do
        program=${row%%:*} probe=${row#*:}
        # shellcheck disable=SC2086 # the probe is a command line
        if PATH="$PATH:/usr/sbin:/sbin" $probe >/dev/null 2>&1; then
            continue
        fi
        echo "tools: SKIPPED $program: \`$probe\` does not run here; tests that need it will be skipped"
        lacking=1
    done
    if [ $lacking -eq 0 ]; then
        echo "tools: all there"
    elif [ "${CI:-}" = true ]; then
        echo "tools: with CI=true every tool must be there" >&2
        exit 1
    fi
}

install_packages
install_ffmpeg9
install_grpcurl
report

#!/bin/sh
# The programs that the tests talk to. Installs what is missing when run as root; otherwise names it.
# Never calls sudo. FACENORM_REQUIRE_PEERS=1 makes a missing program an error.
set -eu

PATH="$PATH:/usr/sbin:/usr/local/sbin"

missing=""
need() { # need PACKAGE PROGRAM...
    package="$1"
    shift
    for program in "$@"; do
        if ! command -v "$program" >/dev/null 2>&1; then
            missing="$missing $package"
            return
        fi
    done
}

look() {
    missing=""
    need orthanc Orthanc
    if [ ! -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] &&
        [ ! -e /usr/local/share/orthanc/plugins/libOrthancDicomWeb.so ]; then
        missing="$missing orthanc-dicomweb"
    fi
    need dcmtk storescu dcmsend storescp echoscu img2dcm dcmcjpeg dcmdump dsrdump
    need dicom3tools dciodvfy dcentvfy
    need pixelmed-apps DicomSRValidator
    need openssl openssl
    need openjph-tools ojph_compress
    need prometheus prometheus promtool
    need prometheus-blackbox-exporter prometheus-blackbox-exporter
    need chromium chromium
    need nodejs node
    need npm npm
}

look
if [ -z "$missing" ]; then
    exit 0
fi

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "The tests need these Debian packages, which will be installed now:$missing"
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    # shellcheck disable=SC2086 -- one word per package is what is wanted
    if apt-get update -q && apt-get install -y -q --no-install-recommends $missing; then
        look
    else
        echo "The installation failed." >&2
    fi
fi

if [ -z "$missing" ]; then
    exit 0
fi

echo "Missing peers, as Debian packages:$missing" >&2
for package in $missing; do
    case "$package" in
    orthanc) skipped="tests that store to and fetch from Orthanc" ;;
    orthanc-dicomweb) skipped="tests that read Orthanc over DICOMweb" ;;
    dcmtk) skipped="tests that send and receive with DCMTK, and those that read reports with dsrdump" ;;
    openjph-tools) skipped="tests of HTJ2K" ;;
    openssl) skipped="tests of secured connections" ;;
    dicom3tools) skipped="tests that check every object with dciodvfy" ;;
    pixelmed-apps) skipped="tests that check reports with DicomSRValidator" ;;
    prometheus*) skipped="the test of the whole department" ;;
    *) skipped="the test that opens a study in OHIF" ;;
    esac
    echo "  without $package, skipped: $skipped" >&2
done
if [ "${FACENORM_REQUIRE_PEERS:-}" = 1 ]; then
    echo "FACENORM_REQUIRE_PEERS=1: nothing may be skipped." >&2
    exit 1
fi
echo "To run them: apt-get install --no-install-recommends$missing" >&2

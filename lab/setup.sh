# Sourced by bin/lab, bin/test and .ci/run: what this machine needs before Python can take over.

SYSTEM_PACKAGES=(python3 python3-venv openssh-client ca-certificates iproute2)
CONTAINER_PACKAGES=(podman mmdebstrap runc netavark aardvark-dns iptables uidmap)
VM_PACKAGES=(qemu-system-x86 qemu-utils e2fsprogs mmdebstrap)

say() { printf '%s\n' "$*" >&2; }

# Run the calling script again as root; sudo asks for its password once.
become_root() {
  [ "$(id -u)" -eq 0 ] && return
  if ! command -v sudo >/dev/null; then
    say "$(basename "$0") needs root rights (packages, containers): run it as root, or install sudo"
    exit 1
  fi
  exec sudo --preserve-env=CI,SEALYARD_LAB,PIP_FIND_LINKS,PIP_INDEX_URL,PIP_CERT,TERM "$0" "$@"
}

# Containers need these rights; say at once which are missing, before anything is installed.
need_container_rights() {
  local cgroup=/sys/fs/cgroup lacks=()
  unshare --mount --net --pid --ipc --uts --fork --mount-proc true 2>/dev/null ||
    lacks+=("the right to make namespaces (CAP_SYS_ADMIN): use a machine or VM of its own, or a privileged container")
  [ -e "$cgroup/cgroup.controllers" ] || cgroup=$cgroup/pids
  if mkdir "$cgroup/sealyard-probe-$$" 2>/dev/null; then
    rmdir "$cgroup/sealyard-probe-$$"
  else
    lacks+=("a writable /sys/fs/cgroup: mount the cgroup hierarchy read-write")
  fi
  [ ${#lacks[@]} -eq 0 ] && return
  say "this machine cannot run the lab's containers. Missing:"
  say "$(printf -- '- %s\n' "${lacks[@]}")"
  say "bin/test --fast runs all that needs none."
  exit 1
}

# need_packages NAME...: install those that are not there yet.
need_packages() {
  local name absent=()
  for name in "$@"; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || absent+=("$name")
  done
  [ ${#absent[@]} -eq 0 ] && return
  if ! command -v apt-get >/dev/null; then
    say "missing on this machine: ${absent[*]} (they are installed for you on Debian 12 and Ubuntu 24.04 only)"
    exit 1
  fi
  say "installing: ${absent[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends "${absent[@]}" >/dev/null
}

# need_python REQUIREMENTS: .venv with exactly these versions, rebuilt only when the file has changed.
need_python() {
  local stamp wanted
  stamp=.venv/.installed-$(basename "$1")
  wanted=$(cat requirements.txt "$1" | sha256sum)
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
  say "installing $1 into .venv"
  [ -x .venv/bin/pip ] || /usr/bin/python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --requirement "$1"
  printf '%s\n' "$wanted" >"$stamp"
}

# Leave .lab and .venv to whoever called sudo, so that ansible-playbook works by hand too.
give_back() {
  [ -n "${SUDO_UID:-}" ] || return 0
  chown -R "$SUDO_UID:$SUDO_GID" .lab .venv 2>/dev/null || true
}

"""What runs on hosts and is used twice: by modules (ansible.module_utils.sealyard_host) and by scripts of units."""

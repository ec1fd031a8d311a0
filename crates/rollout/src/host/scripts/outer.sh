# Mailkeep's hands on one host: one act of a rollout. POSIX sh, fed to `sh -s` on the host. What follows
# needs root; where the login is not root, `sudo -n` must lead there without a question.
mk_as=
if [ "$(id -u)" != 0 ]; then
    mk_as='sudo -n'
    if ! sudo -n sh -c : >/dev/null 2>&1 </dev/null; then
        printf '\n=%s begin 1 %s\n=%s end failed other %s\n' "$mk_nonce" "$mk_act" "$mk_nonce" \
            "user $(id -un) is not root, and sudo -n sh is refused; log in as root or allow it in sudoers"
        exit 0
    fi
fi

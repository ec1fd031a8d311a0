# fault-shell banner-flood|silent [MIB]: makes root's login shell print MIB megabytes full of terminal
# escapes and control characters, or nothing at all, whatever it is asked to run.
set -eu
shell=/lab/fault-shell
case $1 in
banner-flood)
    cat >"$shell" <<FLOOD
#!/bin/sh
line=\$(printf '\\033]0;owned\\007\\033[2J\\033[31m\\033]8;;http://lab.test\\007click\\302\\233K\\rroot:x:0:0')
yes "\$line" | head -c $(($2 * 1048576))
FLOOD
    ;;
silent) printf '#!/bin/sh\nexit 0\n' >"$shell" ;;
esac
chmod 755 "$shell"
usermod -s "$shell" root

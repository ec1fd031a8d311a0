# What a recipe adds. Its texts stand in mk_commands (`WHEN NUMBER SECONDS`) and mk_command_NUMBER, and so
# on; its files in functions recipe_file_NUMBER. Everything here may run twice.

# run_text SECONDS TEXT: with a shell of its own; its words in the log.
run_text() {
    if timeout 1 true 2>/dev/null; then
        timeout "$1" sh -euc "$2" </dev/null >"$mk_dir/command.out" 2>&1
    else
        sh -euc "$2" </dev/null >"$mk_dir/command.out" 2>&1
    fi
    mk_status=$?
    cat "$mk_dir/command.out" >>"$mk_dir/log"
    return "$mk_status"
}
run_commands() { # WHEN
    while read -r mk_when mk_number mk_seconds; do
        [ "$mk_when" = "$1" ] || continue
        eval "mk_text=\$mk_command_$mk_number"
        run_text "$mk_seconds" "$mk_text" ||
            fail other "the recipe's command $mk_number ($mk_when) ended with $mk_status: $(last_words "$mk_dir/command.out")"
        seen "command $mk_number $mk_when done"
    done <<END
$mk_commands
END
}
run_proofs() {
    while read -r mk_name mk_number mk_seconds; do
        [ -n "$mk_name" ] || continue
        eval "mk_text=\$mk_proof_$mk_number"
        run_text "$mk_seconds" "$mk_text" ||
            fail other "the recipe's proof $mk_name ended with $mk_status: $(last_words "$mk_dir/command.out")"
        seen "proof $mk_name holds"
    done <<END
$mk_proofs
END
}
# Packages that came with the order.
take_given_packages() {
    while read -r mk_name mk_number mk_sum; do
        [ -n "$mk_name" ] || continue
        mk_deb=$mk_dir/new/${mk_name}_given.deb
        [ ! -f "$mk_deb" ] || continue
        command -v "recipe_file_$mk_number" >/dev/null 2>&1 || continue
        "recipe_file_$mk_number" >"$mk_deb.new"
        [ "$(sha256sum <"$mk_deb.new" | cut -c 1-64)" = "$mk_sum" ] ||
            fail other "the package $mk_name did not arrive whole"
        mv "$mk_deb.new" "$mk_deb"
        seen "given $mk_name sha256 $mk_sum"
    done <<END
$mk_given
END
}
put_fragments() {
    mkdir -p "$mk_dir/fragments"
    while read -r mk_number mk_mode mk_path; do
        [ -n "$mk_path" ] || continue
        if [ ! -e "$mk_dir/fragments/$mk_number.was" ] && [ ! -e "$mk_dir/fragments/$mk_number.absent" ]; then
            if [ -e "$mk_path" ]; then
                cp -a "$mk_path" "$mk_dir/fragments/$mk_number.was"
            else
                : >"$mk_dir/fragments/$mk_number.absent"
            fi
        fi
        mkdir -p "${mk_path%/*}"
        "recipe_file_$mk_number" >"$mk_path.mailkeep-new" && chmod "$mk_mode" "$mk_path.mailkeep-new" &&
            mv "$mk_path.mailkeep-new" "$mk_path" || fail other "cannot write $mk_path"
        seen "fragment $mk_path"
    done <<END
$mk_fragments
END
}
check_fragments() {
    while read -r mk_number mk_mode mk_path; do
        [ -n "$mk_path" ] || continue
        "recipe_file_$mk_number" | cmp -s - "$mk_path" ||
            fail configuration-changed "$mk_path is not what the recipe says"
    done <<END
$mk_fragments
END
}
take_fragments_back() {
    while read -r mk_number mk_mode mk_path; do
        [ -n "$mk_path" ] || continue
        if [ -e "$mk_dir/fragments/$mk_number.was" ]; then
            cmp -s "$mk_dir/fragments/$mk_number.was" "$mk_path" || keep_copy "$mk_path"
            cp -a "$mk_dir/fragments/$mk_number.was" "$mk_path"
        elif [ -e "$mk_dir/fragments/$mk_number.absent" ]; then
            keep_copy "$mk_path"
            rm -f "$mk_path"
        fi
    done <<END
$mk_fragments
END
}
# What becomes of each mitigation by this plan (mk_fate): `begin` puts it in force and leaves it, `keep`
# sees that it stays, `end` removes it after the patch, `leave` has nothing to do with it.
#
# each_mitigation look|assert|settle|hold|take_back: `assert` puts in force what begins, stays, or ends only
# after the patch; `settle` removes what ends and puts what stays in force again; `hold` fails where one that
# stays is not in force; `take_back` removes what began by this plan, and has all others in force that it
# touched: without the patch, what the patch makes needless stands in for it, even where it did not before.
each_mitigation() {
    while read -r mk_name mk_number mk_fate; do
        [ -n "$mk_name" ] || continue
        eval "mk_check=\$mk_mitigation_check_$mk_number"
        if run_text 60 "$mk_check"; then mk_in_force=1; else mk_in_force=; fi
        mk_wanted=
        case $1-$mk_fate in
        look-*)
            if [ -n "$mk_in_force" ]; then
                seen "mitigation $mk_name in force"
            else
                seen "mitigation $mk_name not in force"
            fi
            continue
            ;;
        hold-begin | hold-keep)
            [ -n "$mk_in_force" ] || fail mitigation-gone "mitigation $mk_name is not in force"
            seen "mitigation $mk_name in force"
            continue
            ;;
        assert-begin)
            # Noted before it is done, so that a rollback knows.
            [ -n "$mk_in_force" ] || : >"$mk_dir/mitigation-$mk_number-begun"
            mk_wanted=1
            ;;
        assert-keep | assert-end | settle-begin | settle-keep) mk_wanted=1 ;;
        settle-end) : >"$mk_dir/mitigation-$mk_number-ended" ;;
        take_back-*)
            # Without the patch, what stood in for it stands in again.
            if [ -e "$mk_dir/mitigation-$mk_number-ended" ] || [ "$mk_fate" = keep ]; then
                mk_wanted=1
            elif [ ! -e "$mk_dir/mitigation-$mk_number-begun" ]; then
                continue
            fi
            ;;
        *) continue ;;
        esac
        [ "$mk_in_force" != "$mk_wanted" ] || continue
        if [ -n "$mk_wanted" ]; then mk_do=assert; else mk_do=remove; fi
        eval "mk_text=\$mk_mitigation_${mk_do}_$mk_number"
        run_text 60 "$mk_text" ||
            fail other "mitigation $mk_name: $mk_do ended with $mk_status: $(last_words "$mk_dir/command.out")"
        if run_text 60 "$mk_check"; then mk_in_force=1; else mk_in_force=; fi
        if [ -n "$mk_wanted" ]; then
            [ -n "$mk_in_force" ] || fail other "mitigation $mk_name cannot be put in force"
            if [ "$mk_fate" = begin ]; then
                seen "mitigation $mk_name put in force"
            else
                seen "mitigation $mk_name put in force again"
            fi
        else
            [ -z "$mk_in_force" ] || fail other "mitigation $mk_name cannot be removed"
            seen "mitigation $mk_name removed"
        fi
    done <<END
$mk_mitigations
END
}
# Whether a patch changed mitigations that were not taken back since.
has_changed_mitigations() {
    for mk_note in "$mk_dir"/mitigation-*-begun "$mk_dir"/mitigation-*-ended; do
        [ ! -e "$mk_note" ] || return 0
    done
    return 1
}
take_mitigations_back() {
    each_mitigation take_back
    rm -f "$mk_dir"/mitigation-*-begun "$mk_dir"/mitigation-*-ended
}
# Lines of a picture, without what the recipe lets servers offer or not.
compared_talk() { # FILE
    awk -v may=" $mk_may_offer " '!($2 == "offers" && index(may, " " $3 " "))' "$1"
}

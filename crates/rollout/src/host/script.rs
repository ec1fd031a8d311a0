//! The text of a script: an order's data as shell variables, then the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mailkeep_model::text::printable_max;
use mailkeep_model::{Act, AdvisoryId, Drain, HostName, PackageChange};

use crate::recipe::{Recipe, RecipeFile};

/// Goes on where the login is root, or says that it is not.
const DIRECT: &str = include_str!("scripts/direct.sh");
/// Becomes root, or says that it cannot.
const OUTER: &str = include_str!("scripts/outer.sh");
/// What every act uses, the product adapters, the acts.
const PARTS: [&str; 10] = [
    include_str!("scripts/common.sh"),
    include_str!("scripts/recipe.sh"),
    include_str!("scripts/postfix.sh"),
    include_str!("scripts/exim.sh"),
    include_str!("scripts/dovecot.sh"),
    include_str!("scripts/sendmail.sh"),
    include_str!("scripts/opensmtpd.sh"),
    include_str!("scripts/cyrus.sh"),
    include_str!("scripts/haproxy.sh"),
    include_str!("scripts/acts.sh"),
];

/// Who the script is fed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// Root, or so it is hoped: where it is not, the script says so ([`not_root`]) and does nothing.
    Root,
    /// Whoever it is: one shell becomes root, and feeds all of it to another.
    Any,
}

/// The line by which a script for [`Login::Root`] says that it was fed to somebody else.
pub(super) fn not_root(nonce: &str) -> String {
    format!("={nonce} not-root")
}

/// What a script is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) act: &'static str,
    pub(super) controller: &'a str,
    pub(super) plan: &'a str,
    pub(super) fence: u64,
    pub(super) host: &'a HostName,
    pub(super) family: &'a str,
    pub(super) packages: &'a [PackageChange],
    pub(super) ports: &'a BTreeSet<u16>,
    pub(super) free_mib: u32,
    pub(super) drain: Option<&'a Drain>,
    pub(super) probe_from: &'a BTreeSet<IpAddr>,
    pub(super) last: bool,
    pub(super) queue_patience: u32,
    pub(super) front: Option<Front<'a>>,
    pub(super) recipe: Option<&'a Recipe>,
    pub(super) mitigates: &'a BTreeMap<AdvisoryId, String>,
}

/// Lists of a recipe, as the script knows them.
const LISTS: [&str; 7] = [
    "commands",
    "fragments",
    "given",
    "may_change",
    "may_offer",
    "mitigations",
    "proofs",
];

/// A server of an `HAProxy`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front<'a> {
    pub(super) socket: &'a str,
    pub(super) backend: &'a str,
    pub(super) server: &'a str,
}

/// Why no script was made; no host was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} has characters that no script may hold; the host was not touched")]
pub(super) struct ScriptError {
    what: &'static str,
    text: String,
}

/// A word that nobody can guess.
pub(super) fn nonce() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

const NO_PORTS: &BTreeSet<u16> = &BTreeSet::new();
const NOTHING: &BTreeMap<AdvisoryId, String> = &BTreeMap::new();
const NO_ADDRESSES: &BTreeSet<IpAddr> = &BTreeSet::new();

impl<'a> Subject<'a> {
    /// An act outside any plan.
    pub(super) fn by_hand(controller: &'a str, host: &'a HostName, act: &'static str) -> Self {
        Self {
            act,
            controller,
            plan: "by-hand",
            fence: 0,
            host,
            family: "",
            packages: &[],
            ports: NO_PORTS,
            free_mib: 0,
            drain: None,
            probe_from: NO_ADDRESSES,
            last: false,
            queue_patience: 0,
            front: None,
            recipe: None,
            mitigates: NOTHING,
        }
    }

    /// An act at a front end.
    pub(super) fn at_front(
        controller: &'a str,
        front: &'a HostName,
        act: &'static str,
        at: Front<'a>,
    ) -> Self {
        Self {
            front: Some(at),
            ..Self::by_hand(controller, front, act)
        }
    }

    /// The whole text, for `sh -s`. Nothing is done before its last lines, so that a cut connection does nothing.
    pub(super) fn script(&self, nonce: &str, login: Login) -> Result<String, ScriptError> {
        let data = self.data(nonce)?;
        let mut text = String::with_capacity(data.len() + 100_000);
        _ = writeln!(text, "mk_nonce='{nonce}'\nmk_act='{}'", self.act);
        let from = match login {
            Login::Root => {
                text.push_str(DIRECT);
                "${SSH_CONNECTION%% *}"
            }
            Login::Any => {
                text.push_str(OUTER);
                _ = writeln!(
                    text,
                    "exec $mk_as sh -s -- \"${{SSH_CONNECTION%% *}}\" <<'MAILKEEP-{nonce}'"
                );
                "$1"
            }
        };
        text.push_str(&data);
        for part in PARTS {
            text.push_str(part);
        }
        _ = writeln!(text, "mk_from_address={from}\nmain </dev/null");
        if login == Login::Any {
            _ = writeln!(text, "MAILKEEP-{nonce}");
        }
        Ok(text)
    }

    fn data(&self, nonce: &str) -> Result<String, ScriptError> {
        let mut packages = String::new();
        for PackageChange { name, from, to } in self.packages {
            for (what, word) in [("package", name), ("version", from), ("version", to)] {
                check(what, word, "+-.:~_")?;
            }
            _ = writeln!(packages, "{name} {from} {to}");
        }
        let drain = match self.drain {
            None | Some(Drain::None) => "none",
            Some(Drain::Haproxy { .. }) => "haproxy",
            Some(Drain::Product) => "product",
            Some(Drain::SynRefusal) => "syn-refusal",
        };
        let family = match self.family {
            "exim4" => "exim",
            "cyrus-imapd" => "cyrus",
            other => other,
        };
        if !family.is_empty() {
            check("product family", family, "")?;
        }
        check("plan", self.plan, "-_:")?;
        let joined = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(" ");
        let ports = joined(&mut self.ports.iter().map(u16::to_string));
        let probe_from = joined(&mut self.probe_from.iter().map(IpAddr::to_string));
        let (fence, free) = (self.fence.to_string(), self.free_mib.to_string());
        let patience = self.queue_patience.to_string();
        let front = self.front.unwrap_or(Front {
            socket: "",
            backend: "",
            server: "",
        });
        let mut data = String::new();
        for (name, value) in [
            ("nonce", nonce),
            ("act", self.act),
            ("controller", self.controller),
            ("plan", self.plan),
            ("fence", &fence),
            ("host", self.host.as_str()),
            ("family", family),
            ("packages", packages.trim_end()),
            ("ports", &ports),
            ("free", &free),
            ("drain", drain),
            ("probe_from", &probe_from),
            ("last", if self.last { "1" } else { "" }),
            ("queue_patience", &patience),
            ("socket", front.socket),
            ("backend", front.backend),
            ("server", front.server),
        ] {
            _ = writeln!(data, "mk_{name}={}", quoted(value)?);
        }
        self.recipe_data(&mut data)?;
        Ok(data)
    }

    /// What a recipe says, as `recipe.sh` reads it. Its files go with the acts that need them.
    fn recipe_data(&self, data: &mut String) -> Result<(), ScriptError> {
        let nothing = RecipeFile::default();
        let file = self.recipe.map_or(&nothing, |recipe| &recipe.file);
        let (mut lists, mut texts) = (
            BTreeMap::from(LISTS.map(|list| (list, String::new()))),
            vec![],
        );
        let mut add = |list: &'static str, line: String| {
            let text: &mut String = lists.entry(list).or_default();
            _ = writeln!(text, "{line}");
        };
        let mut files = Vec::new();
        for (number, package) in file.packages.iter().enumerate() {
            let (name, sum) = (&package.name, package.sha256.to_ascii_lowercase());
            add("given", format!("{name} p{number} {sum}"));
            if self.act == Act::Precheck.name() {
                files.push((format!("p{number}"), &package.file));
            }
        }
        for (number, fragment) in file.fragments.iter().enumerate() {
            add(
                "fragments",
                format!("f{number} {} {}", fragment.mode, fragment.path),
            );
            add("may_change", fragment.path.clone());
            if [Act::Patch, Act::Prove, Act::Recheck]
                .map(Act::name)
                .contains(&self.act)
            {
                files.push((format!("f{number}"), &fragment.file));
            }
        }
        for path in &file.may_change {
            add("may_change", path.clone());
        }
        for offer in &file.may_offer {
            add("may_offer", offer.clone());
        }
        for (number, command) in file.commands.iter().enumerate() {
            let (when, seconds) = (command.when.name(), command.seconds);
            add("commands", format!("{when} {number} {seconds}"));
            texts.push((format!("command_{number}"), &command.run));
        }
        for (number, proof) in file.proofs.iter().enumerate() {
            add(
                "proofs",
                format!("{} {number} {}", proof.name, proof.seconds),
            );
            texts.push((format!("proof_{number}"), &proof.run));
        }
        // Where nothing is mitigated, a restart is due: the fix is installed already.
        let installs = self.mitigates.is_empty()
            || self.packages.iter().any(|change| change.from != change.to);
        for (number, mitigation) in file.mitigations.iter().enumerate() {
            let stays = mitigation
                .advisories
                .iter()
                .any(|advisory| self.mitigates.contains_key(advisory));
            // A plan that installs nothing ends nothing.
            let fate = match (stays, installs) {
                (true, true) => "keep",
                (true, false) => "begin",
                (false, true) => "end",
                (false, false) => "leave",
            };
            add(
                "mitigations",
                format!("{} {number} {fate}", mitigation.name),
            );
            texts.push((format!("mitigation_assert_{number}"), &mitigation.assert));
            texts.push((format!("mitigation_check_{number}"), &mitigation.check));
            texts.push((format!("mitigation_remove_{number}"), &mitigation.remove));
        }
        for (list, text) in &lists {
            // Lists of words are words in one line, the others are lines.
            let one_line = list.starts_with("may_");
            let text = text.trim_end();
            let text = if one_line {
                text.replace('\n', " ")
            } else {
                text.to_owned()
            };
            _ = writeln!(data, "mk_{list}={}", quoted(&text)?);
        }
        for (name, text) in texts {
            _ = writeln!(data, "mk_{name}={}", quoted(text)?);
        }
        let no_way_back = if file.allow_no_way_back { "1" } else { "" };
        let recipe = if self.recipe.is_some() { "1" } else { "" };
        _ = writeln!(data, "mk_no_way_back='{no_way_back}'\nmk_recipe='{recipe}'");
        for (number, name) in files {
            let content = self.recipe.and_then(|recipe| recipe.contents.get(name));
            let content = BASE64.encode(content.map_or(&[][..], Vec::as_slice));
            _ = writeln!(
                data,
                "recipe_file_{number}() {{\n    base64 -d <<'FILE'\n{content}\nFILE\n}}"
            );
        }
        Ok(())
    }
}

/// ASCII letters and digits, and `also`; no first dash.
fn check(what: &'static str, word: &str, also: &str) -> Result<(), ScriptError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    if word.is_empty() || word.starts_with('-') || !word.chars().all(fits) {
        return Err(ScriptError {
            what,
            text: printable_max(word, 100),
        });
    }
    Ok(())
}

/// A text between single quotes, in which nothing has a meaning to a shell.
fn quoted(text: &str) -> Result<String, ScriptError> {
    if text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Err(ScriptError {
            what: "text",
            text: printable_max(text, 100),
        });
    }
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use mailkeep_reach::hosts::{RunLimits, run_locally};
    use proptest::prelude::*;

    use super::*;
    use crate::host::answer;

    fn change(name: &str, from: &str, to: &str) -> PackageChange {
        PackageChange {
            name: name.into(),
            from: from.into(),
            to: to.into(),
        }
    }

    fn subject<'a>(host: &'a HostName, packages: &'a [PackageChange]) -> Subject<'a> {
        Subject {
            family: "nonesuch",
            packages,
            act: "precheck",
            ..Subject::by_hand("c1", host, "precheck")
        }
    }

    #[test]
    fn the_parts_fit_together_as_posix_shell() {
        let host = HostName::new("mx1").unwrap();
        let [script, direct] = [Login::Any, Login::Root]
            .map(|login| subject(&host, &[]).script("n0nce", login).unwrap());
        for shell in ["sh", "dash", "bash --posix", "busybox sh"] {
            let program = shell.split(' ').next().unwrap();
            let check = format!(
                "command -v {program} >/dev/null || {{ echo fits; exit 0; }}\n\
                 {shell} -n <<'WHOLE' && echo fits\n{direct}WHOLE\n"
            );
            let out = run_locally(&check, &[], RunLimits::default()).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), "fits\n", "{shell}");
            let check = format!(
                "command -v {program} >/dev/null || {{ echo fits; exit 0; }}\n\
                 {shell} -n <<'WHOLE' && sed -n \"/<<'MAILKEEP-/,\\$p\" <<'WHOLE' | sed 1d | {shell} -n && echo fits\n\
                 {script}WHOLE\n{script}WHOLE\n"
            );
            let out = run_locally(&check, &[], RunLimits::default()).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), "fits\n", "{shell}");
        }
    }

    #[test]
    fn a_family_without_adapter_is_refused_before_anything_is_touched() {
        let host = HostName::new("mx1").unwrap();
        let answer = |login| {
            let script = subject(&host, &[]).script("n0nce", login).unwrap();
            run_locally(&script, &[], RunLimits::default()).unwrap()
        };
        let mut out = answer(Login::Root);
        if String::from_utf8_lossy(&out)
            .lines()
            .any(|line| line == not_root("n0nce"))
        {
            out = answer(Login::Any);
        }
        let outcome = answer::read(&out, "n0nce", "precheck").unwrap();
        let mailkeep_model::ActOutcome::Failed { detail, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(
            detail.contains("nonesuch") || detail.contains("is not root"),
            "{detail}"
        );
    }

    #[test]
    fn no_package_and_no_version_becomes_a_word_of_the_shell() {
        let host = HostName::new("mx1").unwrap();
        for bad in ["", "-o", "a b", "a'b", "$(id)", "a\nb", "a;b", "é"] {
            for packages in [
                [change(bad, "1", "2")],
                [change("postfix", bad, "2")],
                [change("postfix", "1", bad)],
            ] {
                assert!(
                    subject(&host, &packages).script("n", Login::Root).is_err(),
                    "{bad:?}"
                );
            }
        }
    }

    /// Runs `each_mitigation` with these words in turn, in a directory of its own; the first mitigation of the
    /// recipe is for CVE-2026-1, the second for CVE-2026-2, the third for anything.
    fn mitigations(mitigates: &[&str], to: &str, begin: &str, words: &str) -> String {
        let body = format!("for word in {words}; do each_mitigation $word; done");
        with_mitigations(mitigates, to, begin, &body)
    }

    /// The same, with whatever is to be done.
    fn with_mitigations(mitigates: &[&str], to: &str, begin: &str, body: &str) -> String {
        let one = |name: &str, advisories: &str| {
            format!(
                "[[mitigation]]\nname = \"{name}\"\nadvisories = [{advisories}]\n\
                 assert = \"touch {name}\"\ncheck = \"test -e {name}\"\nremove = \"rm {name}\"\n"
            )
        };
        let text = format!(
            "format = 1\n{}{}{}",
            one("one", "'CVE-2026-1'"),
            one("two", "'CVE-2026-2'"),
            one("any", "")
        );
        let recipe = Recipe::load("r.toml", |_| Ok(text.clone().into_bytes())).unwrap();
        let mitigates = mitigates
            .iter()
            .map(|id| (AdvisoryId::new(*id).unwrap(), "exim4".to_owned()))
            .collect();
        let host = HostName::new("mx1").unwrap();
        let packages = [change("exim4", "1", to)];
        let subject = Subject {
            recipe: Some(&recipe),
            mitigates: &mitigates,
            ..subject(&host, &packages)
        };
        let data = subject.data("n0nce").unwrap();
        let [recipe, acts] = [
            include_str!("scripts/recipe.sh"),
            include_str!("scripts/acts.sh"),
        ];
        let script = format!(
            "mk_dir=$(mktemp -d) && cd \"$mk_dir\" || exit\n{data}{recipe}\n{acts}\n\
             seen() {{ echo \"$*\"; }}\nfail() {{ echo \"FAILED $*\"; exit; }}\n\
             last_words() {{ cat \"$1\"; }}\nfor word in {begin}; do : >\"$word\"; done\n\
             {body}\n\
             echo in force: $(ls | grep -x -e one -e two -e any)\ncd / && rm -rf \"$mk_dir\"\n"
        );
        let out = run_locally(&script, &[], RunLimits::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_mitigation_is_put_in_force_where_it_stands_in_and_no_other_is_touched() {
        let out = mitigations(&["CVE-2026-1"], "1", "any", "assert settle hold");
        assert_eq!(
            out,
            "mitigation one put in force\nmitigation one in force\nin force: any one\n"
        );
        // And taken back where the proof fails.
        let out = mitigations(&["CVE-2026-1"], "1", "any", "assert settle take_back");
        assert!(
            out.ends_with("mitigation one removed\nin force: any\n"),
            "{out}"
        );
        // Unless it was in force before.
        let out = mitigations(&["CVE-2026-1"], "1", "one", "assert settle take_back");
        assert_eq!(out, "in force: one\n");
    }

    #[test]
    fn a_fix_ends_the_mitigations_it_makes_needless_and_keeps_the_others() {
        let out = mitigations(&["CVE-2026-2"], "2", "one two", "assert settle hold");
        assert_eq!(
            out,
            "mitigation any put in force again\nmitigation one removed\nmitigation any removed\n\
             mitigation two in force\nin force: two\n"
        );
        let out = mitigations(&["CVE-2026-2"], "2", "one two", "assert settle take_back");
        assert!(out.ends_with("in force: any one two\n"), "{out}");
        let out = mitigations(&["CVE-2026-2"], "2", "one two", "assert take_back");
        assert!(out.ends_with("in force: any one two\n"), "{out}");
        let out = mitigations(&["CVE-2026-2"], "2", "one", "hold");
        assert!(
            out.starts_with("FAILED mitigation-gone mitigation two is not in force"),
            "{out}"
        );
    }

    #[test]
    fn a_way_back_that_was_cut_short_ends_where_the_whole_one_does() {
        let body = "each_mitigation assert; each_mitigation settle; : >saved\n\
             for done in need_lease keep_drained hold_services repair_dpkg take_fragments_back \\\n\
                 let_services_start look_for_stale config_changes nonesuch_alive; do\n\
                 eval \"$done() { :; }\"\ndone\n\
             versions() { mk_versions=from; }\n\
             already() { echo already; exit; }\nok() { echo ok; exit; }\n\
             restart_all() { echo power cut; exit; }\n(act_roll_back)\n\
             restart_all() { :; }\n(act_roll_back)\n(act_roll_back)";
        let out = with_mitigations(&[], "2", "one", body);
        let (_, after) = out.split_once("power cut\n").unwrap();
        assert!(
            after.contains("mitigation one put in force again\n"),
            "{out}"
        );
        assert!(
            after.ends_with("ok\nalready\nin force: any one two\n"),
            "{out}"
        );
        // Also where nothing needs to be done but for what the fix made needless.
        let body = body.replace("echo power cut; exit;", ":;");
        let out = with_mitigations(&[], "2", "one", &body);
        assert!(
            out.ends_with("ok\nalready\nalready\nin force: any one two\n"),
            "{out}"
        );
    }

    #[test]
    fn a_restart_that_is_due_ends_what_stood_in_for_the_fix() {
        let out = mitigations(&[], "1", "one two any", "assert settle hold");
        assert!(out.ends_with("in force:\n"), "{out}");
    }

    #[test]
    fn what_was_fetched_is_not_asked_for_again_at_a_second_look_or_once_a_host_is_drained() {
        let host = HostName::new("mx1").unwrap();
        let packages = [change("exim4", "1", "2")];
        let subject = Subject {
            free_mib: 512,
            ..subject(&host, &packages)
        };
        let (data, acts) = (
            subject.data("n0nce").unwrap(),
            include_str!("scripts/acts.sh"),
        );
        let looks = |free: u32| {
            let script = format!(
                "{data}{acts}\nmk_dir=$(mktemp -d) || exit\n\
                 fail() {{ echo \"$*\"; exit; }}\nok() {{ echo saved; exit; }}\nfetch() {{ echo fetched; }}\n\
                 for done in need_lease keep_drained fail_where_config_changed seen config_print apt_get \\\n\
                     new_packages note_packages download_both sync apt_failed; do\neval \"$done() {{ :; }}\"\ndone\n\
                 versions() {{ mk_versions=from; }}\n\
                 free_mib() {{ mk_free_mib={free}; }}\n(precheck_packages)\n\
                 mkdir -p \"$mk_dir/before/config\"\nfree_mib() {{ mk_free_mib=$(({free} - 40)); }}\n\
                 (precheck_packages)\n(act_save)\nrm -rf \"$mk_dir\"\n"
            );
            let out = run_locally(&script, &[], RunLimits::default()).unwrap();
            String::from_utf8(out).unwrap()
        };
        let out = looks(520);
        assert!(out.ends_with("\nsaved\n"), "{out}");
        assert!(!out.contains("disk-full"), "{out}");
        let out = looks(511);
        assert!(out.starts_with("disk-full 511 MiB free"), "{out}");
        let out = looks(290);
        assert!(out.contains("disk-full 250 MiB free"), "{out}");
    }

    #[test]
    fn what_others_installed_before_a_patch_began_is_theirs_and_after_that_its_own_failure() {
        let host = HostName::new("mx1").unwrap();
        let packages = [change("exim4", "1", "2")];
        let data = subject(&host, &packages).data("n0nce").unwrap();
        let acts = include_str!("scripts/acts.sh");
        let script = format!(
            "{data}{acts}\nmk_dir=$(mktemp -d) && : >\"$mk_dir/saved\" || exit\n\
             fail() {{ echo \"$*\"; exit; }}\nneed_lease() {{ :; }}\nkeep_drained() {{ :; }}\n\
             planned() {{ echo exim4=$1; }}\n\
             versions() {{ mk_versions=other mk_found=exim4=3; }}\n\
             (act_patch)\n: >\"$mk_dir/patching\"\n(act_patch)\nrm -rf \"$mk_dir\"\n"
        );
        let out = run_locally(&script, &[], RunLimits::default()).unwrap();
        let out = String::from_utf8(out).unwrap();
        let told: Vec<&str> = out.lines().collect();
        let [before, after] = told[..] else {
            panic!("{out}");
        };
        assert!(before.starts_with("unexpected-version "), "{out}");
        assert!(after.starts_with("package-manager "), "{out}");
    }

    #[test]
    fn a_proof_that_cannot_be_written_down_does_not_hold() {
        let host = HostName::new("mx1").unwrap();
        let packages = [change("exim4", "1", "2")];
        let data = subject(&host, &packages).data("n0nce").unwrap();
        let (recipe, acts) = (
            include_str!("scripts/recipe.sh"),
            include_str!("scripts/acts.sh"),
        );
        let proof = |now: &str, full: &str| {
            let script = format!(
                "{data}{recipe}{acts}\nmk_dir=$(mktemp -d) && mkdir -p \"$mk_dir/before\" || exit\n\
                 echo '25 greeting 220 mx1' >\"$mk_dir/before/talk\"\n\
                 fail() {{ echo \"$*\"; exit; }}\n\
                 for done in dpkg find_owners seen look_for_stale all_ports fail_where_down family_has \\\n\
                     says_let_in wait_listening fail_where_config_changed; do\n\
                     eval \"$done() {{ :; }}\"\ndone\n\
                 versions() {{ mk_versions=to; }}\ntalk() {{ echo '25 greeting 220 {now}'; }}\n\
                 for file in {full}; do ln -s /dev/full \"$mk_dir/$file\"; done\n\
                 (prove 3; echo holds)\nrm -rf \"$mk_dir\"\n"
            );
            let out = run_locally(&script, &[], RunLimits::default()).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(proof("mx1", ""), "holds\n");
        assert!(proof("mx2", "").starts_with("mail-service-changed "));
        for full in ["talk.now", "talk.compared", "talk.now talk.compared"] {
            let out = proof("mx2", full);
            assert!(out.starts_with("disk-full "), "{full}: {out}");
        }
    }

    #[test]
    fn packages_that_apt_would_remove_are_named() {
        let host = HostName::new("mx1").unwrap();
        let packages = [change("exim4", "1", "2")];
        let data = subject(&host, &packages).data("n0nce").unwrap();
        let acts = include_str!("scripts/acts.sh");
        // As apt-get of bookworm and of trixie says it.
        let script = format!(
            "{data}{acts}\nmk_dir=$(mktemp -d) || exit\nfail() {{ echo \"$*\"; exit; }}\n\
             for done in fail_where_full download_both fetch note_packages new_packages apt_failed; do\n\
             eval \"$done() {{ :; }}\"\ndone\n\
             apt_get() {{\ncat >\"$mk_dir/apt.out\" <<'OUT'\n\
             Use 'apt autoremove' to remove them.\n\
             The following packages will be REMOVED:\n  postfix postfix-sqlite\n  ssl-cert\n\
             The following NEW packages will be installed:\n  exim4\n\
             E: Packages need to be removed but remove is disabled.\nOUT\nreturn 100\n}}\n\
             (precheck_packages)\nrm -rf \"$mk_dir\"\n"
        );
        let out = run_locally(&script, &[], RunLimits::default()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "package-manager apt would remove postfix postfix-sqlite ssl-cert \n"
        );
    }

    #[test]
    fn apt_reads_its_lists_once_where_only_new_packages_are_missing() {
        let host = HostName::new("mx1").unwrap();
        let packages = [change("exim4", "1", "2"), change("exim4-base", "1", "2")];
        let data = subject(&host, &packages).data("n0nce").unwrap();
        let (common, acts) = (
            include_str!("scripts/common.sh"),
            include_str!("scripts/acts.sh"),
        );
        // What lies where is files `DIRECTORY/NAME=VERSION`; who asks apt by name has it in apt's cache.
        let asked = |first: &str, fetches: &str| {
            let script = format!(
                "{data}{common}{acts}\nmk_dir=$(mktemp -d) && mkdir \"$mk_dir/cache\" \"$mk_dir/old\" \"$mk_dir/new\" || exit\n\
                 fail() {{ echo \"$*\"; exit; }}\n\
                 for done in fail_where_full take_given_packages note_packages; do eval \"$done() {{ :; }}\"; done\n\
                 package_file() {{\nmk_place=$1\n[ \"$1\" != /var/cache/apt/archives ] || mk_place=$mk_dir/cache\n\
                 mk_deb=$mk_place/$2=$3; [ -e \"$mk_deb\" ]; }}\n\
                 apt_get() {{\necho \"$*\" | sed \"s|$mk_dir|.|g\"\nto=$mk_dir/cache; [ \"$1\" != download ] || to=.\n\
                 for one; do case $one in exim4*=*) {fetches} && : >\"$to/$one\" || return 1 ;; esac; done; }}\n\
                 cp() {{ command cp \"$1\" \"$mk_dir/new/\"; }}\n\
                 {first}\nprecheck_packages\nls \"$mk_dir/new\" | tr '\\n' ' '\nrm -rf \"$mk_dir\"\n"
            );
            let out = run_locally(&script, &[], RunLimits::default()).unwrap();
            String::from_utf8(out).unwrap()
        };
        let would = "--download-only --no-remove --no-install-recommends install";
        let old_is_there = "for one in exim4=1 exim4-base=1; do : >\"$mk_dir/old/$one\"; done";
        assert_eq!(
            asked(old_is_there, "true"),
            format!("{would} exim4=2 exim4-base=2\nexim4-base=2 exim4=2 ")
        );
        let and_one_new = format!("{old_is_there}; : >\"$mk_dir/new/exim4=2\"");
        assert_eq!(
            asked(&and_one_new, "true"),
            format!("{would} ./new/exim4=2 exim4-base=2\nexim4-base=2 exim4=2 ")
        );
        // Of one package it has no two versions: these it is told to download.
        assert_eq!(
            asked("", "true"),
            format!(
                "download exim4=1 exim4-base=1 exim4=2 exim4-base=2\n\
                 {would} ./new/exim4=2 ./new/exim4-base=2\nexim4-base=2 exim4=2 "
            )
        );
        // Lists that are older than the plan.
        let out = asked(old_is_there, "[ -e \"$mk_dir/updated\" ]");
        let asked = out.lines().collect::<Vec<_>>();
        assert_eq!(asked[0], format!("{would} exim4=2 exim4-base=2"));
        assert!(asked.contains(&"update"), "{out}");
        assert!(out.contains("cannot be had: exim4=2 exim4-base=2"), "{out}");
    }

    #[test]
    fn old_code_is_seen_in_the_executable_and_in_any_library() {
        let host = HostName::new("mx1").unwrap();
        let (data, common) = (
            subject(&host, &[]).data("n0nce").unwrap(),
            include_str!("scripts/common.sh"),
        );
        // Three processes: the executable of one is deleted, a library of another, and the third is whole.
        let script = format!(
            "{data}{common}\ntop=$(mktemp -d) && cd \"$top\" || exit\n\
             cp \"$(command -v sleep)\" own\n\
             cp \"$(sed -n -e 's|.* \\(/.*/libc[.-].*\\)$|\\1|p' /proc/$$/maps | head -n 1)\" library\n\
             ./own 60 & executable=$!\nLD_PRELOAD=$top/library sleep 60 & library=$!\nsleep 60 & whole=$!\n\
             until grep -q \"$top/own\" /proc/$executable/maps && grep -q \"$top/library\" /proc/$library/maps; do\n\
             :; done\nrm own library\n\
             product_of() {{ mk_product=exim; }}\n\
             ls() {{ command ls -ln /proc/$executable/exe /proc/$library/exe /proc/$whole/exe; }}\n\
             look_for_stale; echo \"$mk_stale\" | sed -e \"s/^$executable /executable /\" -e \"s/^$library /library /\"\n\
             has_processes exim && echo there\n\
             kill $executable $library $whole; rm -rf \"$top\"\n"
        );
        let out = run_locally(&script, &[], RunLimits::default()).unwrap();
        let out = String::from_utf8(out).unwrap();
        let told: Vec<&str> = out.lines().collect();
        assert_eq!(told.len(), 3, "{out}");
        assert!(told[0].starts_with("executable exim old /"), "{out}");
        assert!(told[1].starts_with("library exim old /"), "{out}");
        assert_eq!(told[2], "there", "{out}");
    }

    #[test]
    fn who_listens_and_what_they_say_is_the_same_with_ss_and_without() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut said = [0; 512];
                for reply in [
                    "220 mx1 ESMTP\r\n",
                    "250-mx1\r\n250 SIZE\r\n",
                    "221 Bye\r\n",
                ] {
                    client.write_all(reply.as_bytes()).unwrap();
                    if client.read(&mut said).unwrap() == 0 {
                        break;
                    }
                }
            }
        });
        let host = HostName::new("mx1").unwrap();
        let ports = BTreeSet::from([port]);
        let subject = Subject {
            ports: &ports,
            ..subject(&host, &[])
        };
        let (data, common) = (
            subject.data("n0nce").unwrap(),
            include_str!("scripts/common.sh"),
        );
        let look = |first: &str| {
            let script = format!(
                "{data}{common}{first}\nmk_mail_ports=\nlook_for_listeners; open_sessions\n\
                 echo \"$mk_open, $mk_sessions\"; dialogue {port} 1\n"
            );
            let out = run_locally(&script, &[], RunLimits::default()).unwrap();
            String::from_utf8(out).unwrap()
        };
        let told =
            format!("{port}, 0\n{port} greeting 220 mx1 ESMTP\n{port} offers SIZE\n1 closed\n");
        assert_eq!(look(""), told);
        assert_eq!(look("have() { return 1; }"), told);
    }

    #[test]
    fn of_two_that_find_one_stale_lock_only_one_holds_it() {
        let host = HostName::new("mx1").unwrap();
        let mut script =
            "export TOP=$(mktemp -d)\ncat >\"$TOP/begin\" <<'END-OF-COMMON'\n".to_owned();
        script += &subject(&host, &[]).data("n0nce").unwrap();
        script += include_str!("scripts/common.sh");
        // The second one finds the lock stale, and goes on when the first one holds it.
        script += r#"
            mk_run=$TOP mk_var=$TOP mk_act=precheck
            awaits() { until [ -e "$TOP/$1" ]; do sleep 0.01; done; }
END-OF-COMMON
            ln -s 999999999:1:patch "$TOP/act"
            sh -c '. "$TOP/begin"; awaits found; one_at_a_time; : >"$TOP/holds"; awaits said
                [ "$(readlink "$TOP/act")" = "$mk_me" ] && echo "the first one still holds it"' &
            sh -c '. "$TOP/begin"
                proc_start() {
                    if [ "$1" != 999999999 ]; then cut -d " " -f 22 "/proc/$1/stat"; return; fi
                    : >"$TOP/found"
                    awaits holds
                    return 1
                }
                one_at_a_time; echo "the second one holds it, too"' | grep -o -e "the second.*" -e "still at work"
            : >"$TOP/said"
            wait; rm -rf "$TOP"
        "#;
        let out = run_locally(&script, &[], RunLimits::default()).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, "still at work\nthe first one still holds it\n");
    }

    #[test]
    fn iptables_rules_are_replaced_in_one_piece() {
        let host = HostName::new("mx1").unwrap();
        let from = BTreeSet::from(["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]);
        let subject = Subject {
            probe_from: &from,
            ..subject(&host, &[])
        };
        let (data, parts) = (subject.data("n0nce").unwrap(), PARTS.join("\n"));
        let script = format!(
            "{data}{parts}\nmk_dir=$(mktemp -d) && cd \"$mk_dir\" || exit\nmkdir bin\n\
             for tables in iptables ip6tables; do\n\
             printf '#!/bin/sh\\necho \"%s $*\" >>%s/calls\\n' $tables \"$mk_dir\" >bin/$tables\n\
             printf '#!/bin/sh\\nsed \"s/^/%s: /\" >>%s/calls\\n' $tables \"$mk_dir\" >bin/$tables-restore\n\
             done\nchmod +x bin/*\nPATH=$mk_dir/bin:$PATH\n\
             have() {{ case $1 in nft) return 1 ;; *) command -v \"$1\" >/dev/null ;; esac; }}\n\
             fail() {{ echo \"FAILED $*\"; cat log; exit; }}\n\
             refuse_syn mailkeep; cat calls; cd / && rm -rf \"$mk_dir\"\n"
        );
        let out = run_locally(&script, &[], RunLimits::default()).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        for (tables, address) in [("iptables", "192.0.2.7"), ("ip6tables", "2001:db8::7")] {
            let told = format!("{tables}: ");
            let at = |line: &str| {
                let wanted = format!("{told}{line}");
                let at = lines.iter().position(|found| *found == wanted);
                at.unwrap_or_else(|| panic!("no {wanted}: {out}"))
            };
            let reject = "-A mailkeep -p tcp --dport 25 --syn -j REJECT --reject-with tcp-reset";
            let order = [
                at("*filter"),
                at(":mailkeep - [0:0]"),
                at(&format!("-A mailkeep -s {address} -j RETURN")),
                at(reject),
                at("COMMIT"),
            ];
            assert!(order.is_sorted(), "{out}");
            // Nothing else but the way into the chain is asked for one by one.
            let alone = format!("{tables} ");
            for call in lines.iter().filter_map(|line| line.strip_prefix(&alone)) {
                assert_eq!(call, "-w 10 -C INPUT -j mailkeep", "{out}");
            }
        }
    }

    #[test]
    fn what_a_drain_by_iptables_left_half_way_is_neither_a_drain_nor_left_for_good() {
        let host = HostName::new("mx1").unwrap();
        let (data, parts) = (subject(&host, &[]).data("n0nce").unwrap(), PARTS.join("\n"));
        // Tables whose chain and whose way into it are files; who is named in `cut` is killed as it asks for the way.
        let script = format!(
            "{data}{parts}\nmk_dir=$(mktemp -d) && cd \"$mk_dir\" || exit\nmkdir bin\n\
             for tables in iptables ip6tables; do\n\
             cat >bin/$tables <<END\n#!/bin/sh\nshift 2\ncd $mk_dir\n\
             case \\$1 in\n-S) [ -e $tables.chain ] ;;\n-C) [ -e $tables.way ] ;;\n\
             -I) [ \\$(cat cut) != $tables ] || {{ kill -9 \\$PPID; exit 1; }}; : >$tables.way ;;\n\
             -D) [ -e $tables.way ] && rm $tables.way ;;\n-F) [ -e $tables.chain ] ;;\n\
             -X) [ ! -e $tables.way ] && rm $tables.chain ;;\nesac\nEND\n\
             printf '#!/bin/sh\\ncat >%s/%s.chain\\n' \"$mk_dir\" $tables >bin/$tables-restore\n\
             done\nchmod +x bin/*\nPATH=$mk_dir/bin:$PATH; export PATH\n\
             have() {{ case $1 in nft) return 1 ;; *) command -v \"$1\" >/dev/null ;; esac; }}\n\
             for cut in ip6tables iptables nobody; do\necho $cut >cut\n\
             cat >killed <<'KILLED'\n{data}{parts}\nhave() {{ case $1 in nft) return 1 ;; *) command -v \"$1\" >/dev/null ;; esac; }}\n\
             fail() {{ echo \"FAILED $*\"; exit; }}\nrefuse_syn mailkeep\nKILLED\n\
             sh killed 2>/dev/null; is_refusing mailkeep && echo \"refuses, though $cut was cut\"\n\
             accept_syn mailkeep && ls *.chain *.way 2>/dev/null\ndone\n\
             : >ip6tables.chain; : >ip6tables.way\nsed -i 's/ rm / : /' bin/ip6tables\n\
             accept_syn mailkeep || echo 'says what it cannot remove'\ncd / && rm -rf \"$mk_dir\"\n"
        );
        let out = run_locally(&script, &[], RunLimits::default()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "refuses, though nobody was cut\nsays what it cannot remove\n"
        );
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(nonce(), nonce());
        assert_eq!(nonce().len(), 32);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn a_quoted_text_comes_out_of_a_shell_as_it_went_in(text in "[ -~é\n]{0,40}") {
            let script = format!("printf '%s' {}", quoted(&text).unwrap());
            let out = run_locally(&script, &[], RunLimits::default()).unwrap();
            prop_assert_eq!(out, text.as_bytes());
        }
    }
}

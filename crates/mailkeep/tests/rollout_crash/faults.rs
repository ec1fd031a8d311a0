//! What goes wrong with hosts.

use std::process::Command;

use crate::ring::Ring;

/// Whatever is started on the host from now on sees a clock that is an hour fast; so does its mail
/// server, an Exim.
pub(crate) fn wrong_clock(ring: &Ring<'_>, host: &str) {
    // No host can have a clock of its own (time_namespaces(7) leave out the one of the day), so every
    // program is lied to.
    let source = "#include <sys/syscall.h>\n#include <sys/time.h>\n#include <time.h>\n#include <unistd.h>\n\
        int clock_gettime(clockid_t clock, struct timespec *at) {\n\
            long failed = syscall(SYS_clock_gettime, clock, at);\n\
            if (!failed && (clock == 0 || clock == 5)) at->tv_sec += 3600;\n\
            return failed;\n}\n\
        int gettimeofday(struct timeval *at, void *zone) {\n\
            long failed = syscall(SYS_gettimeofday, at, zone);\n\
            if (!failed && at) at->tv_sec += 3600;\n\
            return failed;\n}\n\
        time_t time(time_t *at) {\n\
            struct timespec now;\n\
            clock_gettime(0, &now);\n\
            if (at) *at = now.tv_sec;\n\
            return now.tv_sec;\n}\n";
    let place = ring.desk.directory().join("wrong-clock");
    let (text, library) = (place.with_extension("c"), place.with_extension("so"));
    std::fs::write(&text, source).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-nostdlib", "-O1", "-o"]);
    let status = compiler.arg(&library).arg(&text).status().unwrap();
    assert!(status.success(), "cc ended with {status}");
    let pid = ring.lab.pid(host).unwrap().unwrap();
    std::fs::copy(&library, format!("/proc/{pid}/root/lab/wrong-clock.so")).unwrap();
    ring.inside(
        host,
        "chmod 644 /lab/wrong-clock.so; echo /lab/wrong-clock.so >/etc/ld.so.preload; \
         service exim4 restart",
    );
    clock_is_wrong(ring, host);
    ring.step(&format!("{host}: its clock is an hour fast"));
}

/// The kernel, which dates files, knows better.
#[track_caller]
pub(crate) fn clock_is_wrong(ring: &Ring<'_>, host: &str) {
    let script = "touch /run/now; test $(($(date +%s) - $(stat -c %Y /run/now))) -gt 3500";
    assert!(ring.holds(host, script));
}

/// The host answers the controller with a reset, whatever it says, also in the middle.
pub(crate) fn refuse_controller(ring: &Ring<'_>, host: &str) {
    ring.inside(
        host,
        "nft add table inet lab; nft add chain inet lab in '{ type filter hook input priority -5; }'; \
         nft add rule inet lab in ip saddr 198.19.255.254 meta l4proto tcp reject with tcp reset",
    );
}

/// No longer.
pub(crate) fn accept_controller(ring: &Ring<'_>, host: &str) {
    ring.inside(host, "nft delete table inet lab");
}

/// dpkg's database lies on a disk of its own, with room.
pub(crate) fn roomy_dpkg(ring: &Ring<'_>, host: &str) {
    ring.inside(
        host,
        "cp -a /var/lib/dpkg /lab/dpkg; mount -t tmpfs -o size=4g full /var/lib/dpkg; \
         cp -a /lab/dpkg/. /var/lib/dpkg/",
    );
}

/// No room is left there.
pub(crate) fn fill_dpkg(ring: &Ring<'_>, host: &str) {
    ring.inside(
        host,
        "mount -o remount,size=$(df -k --output=used /var/lib/dpkg | tail -n 1 | tr -d ' ')k /var/lib/dpkg",
    );
    ring.step(&format!("{host}: its disk is full"));
}

/// The database is on the disk it was on before, as it is now.
pub(crate) fn empty_dpkg(ring: &Ring<'_>, host: &str) {
    ring.inside(
        host,
        "rm -rf /lab/dpkg; cp -a /var/lib/dpkg /lab/dpkg; umount /var/lib/dpkg; \
         rm -rf /var/lib/dpkg/*; cp -a /lab/dpkg/. /var/lib/dpkg/",
    );
}

/// Nothing can be delivered into the mailbox of the probes; it can still be looked into.
pub(crate) fn close_mailbox(ring: &Ring<'_>, host: &str) {
    ring.inside(
        host,
        "touch /var/mail/probe; stat -c '%u:%g %a' /var/mail/probe >/lab/mailbox; \
         chown root:root /var/mail/probe; chmod 444 /var/mail/probe",
    );
}

/// It can again, and what waits is delivered.
pub(crate) fn open_mailbox(ring: &Ring<'_>, host: &str) {
    ring.inside(
        host,
        "read -r owner mode </lab/mailbox; chown $owner /var/mail/probe; chmod $mode /var/mail/probe; \
         postqueue -f",
    );
}

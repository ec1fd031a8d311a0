//! What goes wrong in a rehearsal, and how often.

/// How often each kind of failure happens. Numbers are of a thousand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// Acts that meet a host that does not answer, for a moment.
    pub unreachable: u16,
    /// Acts that are done, and whose answer comes never.
    pub hang: u16,
    /// Acts that are done, and whose answer is lost.
    pub reply_lost: u16,
    /// Acts during which the line is cut for longer than its keep-alives bear: the controller gives them up
    /// while they go on.
    pub long_cut: u16,
    /// Hosts that cannot be reached for up to half an hour; they go on serving.
    pub outage: u16,
    /// Hosts that cannot be reached any more from some moment on; they go on as they are.
    pub gone: u16,
    /// Hosts whose package manager is at work for somebody else.
    pub package_lock: u16,
    /// Variants whose new package does not start its daemon.
    pub package_broken: u16,
    /// Hosts whose daemon survives the patch and runs the old code on.
    pub stays_old: u16,
    /// Hosts through which a probe does not arrive after the patch.
    pub probe_lost: u16,
    /// The same, in the look after the soak only.
    pub probe_lost_later: u16,
    /// Hosts that reboot in mid-patch.
    pub reboot: u16,
    /// Hosts that go down in mid-patch and never come up again.
    pub never_back: u16,
    /// Hosts whose disk fills at some moment, for a while or for good.
    pub disk_fills: u16,
    /// Hosts whose disk is full: before, while the way back is saved, or while packages are unpacked.
    pub disk_full: u16,
    /// Hosts whose package mirror is gone.
    pub mirror_gone: u16,
    /// Hosts that somebody else leases.
    pub lease_taken: u16,
    /// Hosts whose lease another plan of the same controller takes where it may.
    pub other_plan: u16,
    /// Hosts that cannot be drained.
    pub drain_fails: u16,
    /// Hosts on which the way back is broken too.
    pub roll_back_broken: u16,
    /// Hosts whose next hop takes no mail for a while, so that their queue does not empty.
    pub next_hop_down: u16,
    /// Hosts with a session that does not end.
    pub endless_session: u16,
    /// Journal writes and orders at which the controller dies.
    pub controller_crash: u16,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        unreachable: 0,
        hang: 0,
        reply_lost: 0,
        long_cut: 0,
        outage: 0,
        gone: 0,
        package_lock: 0,
        package_broken: 0,
        stays_old: 0,
        probe_lost: 0,
        probe_lost_later: 0,
        reboot: 0,
        never_back: 0,
        disk_fills: 0,
        disk_full: 0,
        mirror_gone: 0,
        lease_taken: 0,
        other_plan: 0,
        drain_fails: 0,
        roll_back_broken: 0,
        next_hop_down: 0,
        endless_session: 0,
        controller_crash: 0,
    };

    /// A bad day: most hosts are patched, some of everything happens.
    pub const SOME: Self = Self {
        unreachable: 20,
        hang: 3,
        reply_lost: 10,
        long_cut: 3,
        outage: 20,
        gone: 5,
        package_lock: 30,
        package_broken: 20,
        stays_old: 10,
        probe_lost: 10,
        probe_lost_later: 10,
        reboot: 20,
        never_back: 3,
        disk_fills: 10,
        disk_full: 10,
        mirror_gone: 10,
        lease_taken: 10,
        other_plan: 5,
        drain_fails: 5,
        roll_back_broken: 5,
        next_hop_down: 20,
        endless_session: 10,
        controller_crash: 2,
    };

    /// Everything at once, far more often than anybody lives through.
    pub const MANY: Self = Self {
        unreachable: 100,
        hang: 20,
        reply_lost: 50,
        long_cut: 20,
        outage: 150,
        gone: 50,
        package_lock: 150,
        package_broken: 150,
        stays_old: 80,
        probe_lost: 80,
        probe_lost_later: 100,
        reboot: 100,
        never_back: 30,
        disk_fills: 60,
        disk_full: 80,
        mirror_gone: 50,
        lease_taken: 80,
        other_plan: 60,
        drain_fails: 50,
        roll_back_broken: 100,
        next_hop_down: 100,
        endless_session: 80,
        controller_crash: 10,
    };

    /// Hosts and variants fail, but nothing that depends on when: for comparing a run that crashes with
    /// one that does not.
    pub const LASTING: Self = Self {
        package_broken: 150,
        stays_old: 100,
        probe_lost: 100,
        probe_lost_later: 100,
        disk_full: 100,
        mirror_gone: 80,
        drain_fails: 80,
        roll_back_broken: 150,
        ..Self::NONE
    };
}

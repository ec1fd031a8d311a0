//! What an inspection may cost, and what is left of it.

use thiserror::Error;

/// What an inspection of one message may cost. All of it is counted, none of it is a time: the same
/// message has the same verdict on any machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Parts within parts, messages within messages and archives within archives, one after another.
    pub depth: usize,
    /// Parts, by all readings together.
    pub parts: usize,
    /// Members of archives and pieces of documents.
    pub members: usize,
    /// Octets that decoding and unpacking may bring forth, by all readings together.
    pub octets: u64,
    /// Octets one member may have unpacked.
    pub member_octets: u64,
    /// How many times its packed size an archive may have unpacked, beyond its first 8 MiB.
    pub ratio: u64,
    /// Readings of one message.
    pub readings: usize,
    /// Octets that are looked through for boundaries, by all readings together: a part within parts is looked
    /// through once for each of them and for each of its boundaries.
    pub searched: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 20,
            parts: 1000,
            // Two presentations have a third of that.
            members: 5000,
            octets: 256 << 20,
            member_octets: 64 << 20,
            ratio: 200,
            readings: 64,
            searched: 4 << 30,
        }
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`Limits::depth`]
    Depth,
    /// [`Limits::parts`], [`Limits::members`]
    Parts,
    /// [`Limits::octets`]
    Octets,
    /// [`Limits::member_octets`]
    MemberOctets,
    /// [`Limits::ratio`]
    Ratio,
    /// [`Limits::readings`], [`Limits::searched`]
    Readings,
}

impl Limit {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Parts => "parts",
            Self::Octets => "octets",
            Self::MemberOctets => "member-octets",
            Self::Ratio => "ratio",
            Self::Readings => "readings",
        }
    }
}

/// A limit was reached: what lies beyond was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the limit on {} was reached", .0.name())]
pub struct LimitReached(pub Limit);

/// What is left to spend on one message.
#[derive(Debug, Clone)]
pub struct Budget {
    limits: Limits,
    parts: usize,
    members: usize,
    octets: u64,
    depth: usize,
    readings: usize,
    searched: u64,
    /// Whether what is packed is unpacked.
    unpacks: bool,
    /// Something could not be paid, or nothing is left.
    exhausted: bool,
}

impl Budget {
    /// All of it.
    pub fn new(limits: &Limits) -> Self {
        Self {
            unpacks: true,
            exhausted: false,
            parts: limits.parts,
            members: limits.members,
            octets: limits.octets,
            depth: 0,
            readings: limits.readings,
            searched: limits.searched,
            limits: limits.clone(),
        }
    }

    /// What is spent in some milliseconds, and on nothing that decompressors have to be set up for.
    pub(crate) fn small(limits: &Limits) -> Self {
        let limits = Limits {
            depth: limits.depth,
            parts: limits.parts.min(40),
            members: limits.members.min(40),
            octets: limits.octets.min(512 << 10),
            member_octets: limits.member_octets.min(512 << 10),
            ratio: limits.ratio,
            readings: limits.readings.min(8),
            searched: limits.searched.min(2 << 20),
        };
        Self {
            unpacks: false,
            ..Self::new(&limits)
        }
    }

    /// Whether what is packed may be unpacked.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn unpacking(&mut self) -> Result<(), LimitReached> {
        if self.unpacks {
            Ok(())
        } else {
            Err(self.exhaust(Limit::Parts))
        }
    }

    /// Whether a larger budget may come to something else.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Whether it is of no use to go on: whoever gave it asks again with a larger one.
    pub(crate) fn gives_up(&self) -> bool {
        self.exhausted && !self.unpacks
    }

    /// Notes that a limit was reached.
    pub(crate) fn exhaust(&mut self, limit: Limit) -> LimitReached {
        self.exhausted = true;
        LimitReached(limit)
    }

    /// The limits it began with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many octets may still be brought forth.
    pub fn octets_left(&self) -> u64 {
        self.octets
    }

    /// Pays for a part.
    ///
    /// # Errors
    /// None is left.
    pub fn part(&mut self) -> Result<(), LimitReached> {
        let left = self.parts.checked_sub(1);
        self.parts = left.ok_or_else(|| self.exhaust(Limit::Parts))?;
        Ok(())
    }

    /// Pays for a member.
    ///
    /// # Errors
    /// None is left.
    pub fn member(&mut self) -> Result<(), LimitReached> {
        let left = self.members.checked_sub(1);
        self.members = left.ok_or_else(|| self.exhaust(Limit::Parts))?;
        Ok(())
    }

    /// Pays for octets that decoding or unpacking brings forth.
    ///
    /// # Errors
    /// Fewer are left; then none is.
    pub fn octets(&mut self, count: u64) -> Result<(), LimitReached> {
        let left = self.octets.checked_sub(count);
        self.octets = left.unwrap_or(0);
        // Who sees that nothing is left does not ask for more.
        self.exhausted |= self.octets == 0;
        left.map(|_| ()).ok_or(LimitReached(Limit::Octets))
    }

    /// Pays for a reading.
    ///
    /// # Errors
    /// None is left.
    pub fn reading(&mut self) -> Result<(), LimitReached> {
        let left = self.readings.checked_sub(1);
        self.readings = left.ok_or_else(|| self.exhaust(Limit::Readings))?;
        Ok(())
    }

    /// Pays for looking through so many octets once more.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn search(&mut self, count: usize) -> Result<(), LimitReached> {
        let left = self.searched.checked_sub(count as u64);
        self.searched = left.ok_or_else(|| self.exhaust(Limit::Readings))?;
        Ok(())
    }

    /// Goes one level deeper, does `work` there, and comes back.
    ///
    /// # Errors
    /// It is as deep as it may go.
    pub fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Result<T, LimitReached> {
        if self.depth >= self.limits.depth {
            return Err(LimitReached(Limit::Depth));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        Ok(result)
    }
}

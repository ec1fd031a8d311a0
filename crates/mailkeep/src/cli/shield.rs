//! The arguments of `mailkeep shield`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What stands in front of servers that cannot be patched yet: rules, and bundles of them
#[derive(Debug, Subcommand)]
pub enum ShieldCommand {
    /// The virtual patches: which holes can be closed before the patch, how, and how sure that is
    Rules(RulesArgs),
    /// What stands in for the patch of a hole, if anything does
    #[command(name = "explain")]
    ExplainRule(ExplainRuleArgs),
    /// Judge messages that lie in files, as the shield would
    #[command(name = "scan")]
    ScanMessages(ScanMessagesArgs),
    /// Say which of your own mail the rules would refuse, before they do: mailboxes, Maildirs, captures of the network
    Replay(ReplayArgs),
    /// The virtual patches as rules for Suricata
    #[command(name = "export")]
    ExportRules(ExportArgs),
    /// What Suricata saw by them, beside what was found on your servers
    Eve(EveArgs),
    /// Bundles of virtual patches: build for a shield what the servers behind it need now, sign, verify
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// How the shields of the fleet file are: servers behind, bundle, virus scanners, what is held
    #[command(name = "status")]
    ShieldStatus(ShieldStatusArgs),
    /// Mail that a shield keeps from its recipients: list, look, judge anew, release, tell them
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Why a shield decided as it did: each check of a message with its evidence, from the shield's log
    Why(WhyArgs),
}

/// `mailkeep shield why`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "The id stands in the refusal, as (reference ID), in the log, in the quarantine, and in the Received \
    header that the shield writes. The id of a message shows what its session did, too; the id of a session all its \
    messages.\n\nThe log is that of the shield itself, or what journalctl makes of it (-o cat, or -o json --all):\n\n  \
    journalctl -u mailkeep-shield -o cat | mailkeep shield why ID\n\nThe exit status is 1 where no line of the log is \
    about the id, and 2 where it is no log of a shield."
)]
pub struct WhyArgs {
    /// What the sender was told as (reference ID)
    #[arg(value_name = "ID")]
    pub id: String,

    /// The shield's log; may be given again [default: standard input]
    #[arg(long = "log", value_name = "FILE")]
    pub logs: Vec<PathBuf>,

    /// How to write the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: WhyFormat,
}

/// Output formats of `shield why`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhyFormat {
    /// For a person.
    Text,
    /// The lines of the log as they are.
    Jsonl,
}

/// `mailkeep shield rules`.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// Rules of this bundle [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,

    /// Only rules whose name, product, package or CVE id holds this
    #[arg(long, value_name = "TEXT")]
    pub about: Option<String>,

    /// How to write them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: RulesFormat,
}

/// Output formats of `shield rules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RulesFormat {
    /// For a person.
    Table,
    /// The whole of each rule.
    Json,
}

/// `mailkeep shield explain`.
#[derive(Debug, Args)]
#[command(after_long_help = "The exit status is 1 where no rule enforces: nobody is covered then.")]
pub struct ExplainRuleArgs {
    /// CVE id, another name of the hole, or the name of a rule
    #[arg(value_name = "CVE")]
    pub name: String,

    /// Rules of this bundle [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// `mailkeep shield scan`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "A file that begins with `From ` is a mailbox (mbox); its messages are told apart by their number. Of a \
    Maildir, `cur` and `new` are read, and its folders; of any other directory every file, and its directories. `-` is the standard \
    input. With --format jsonl each message is one object: `file`, `index` in a mailbox, `verdict` (accept, quarantine, tempfail, \
    refuse), `reasons` (`rule`, `verdict`, `text`, `evidence`, `place`; those with the verdict accept were only \
    noticed).\n\nThe exit status is 1 if any message is not accepted, and 2 if a file could not be read; the others \
    are judged all the same."
)]
pub struct ScanMessagesArgs {
    /// Message, mailbox or directory
    #[arg(value_name = "FILE|MAILDIR|MBOX", required = true)]
    pub paths: Vec<PathBuf>,

    /// How strict to be
    #[arg(long, value_name = "LEVEL", default_value = "default")]
    pub level: ScanLevel,

    /// Virtual patches of this bundle [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,

    /// Show accepted messages too, and what was noticed in them
    #[arg(long)]
    pub all: bool,

    /// How to write the verdicts
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ScanFormat,
}

/// `mailkeep shield replay`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Files are found as by `shield scan`, `-` being the standard input; one that is a capture (pcap, pcapng; as by `tcpdump -w FILE -s 0 port 25`) \
    has its SMTP sessions followed. Of a message in a file, the envelope is what Return-Path, Delivered-To, X-Original-To \
    and Envelope-To tell. What a rule does is as it ships, or as --config says: `refuse`; `monitor` (it tells, until you \
    enforce it); `notice` (it only tells, or not at this level). Of a message in a file nobody knows the client: an \
    exception for some networks, or for one listener, counts there only if it refuses.\n\n\
    Sessions that are encrypted, began before the capture, or miss octets are not judged, and counted by why; so are packets \
    that cannot be followed. With --format jsonl each line is an object with a `type`: `message` and `session` (what rules \
    say of one), `problem`, and at the end `rule` and `total`.\n\n\
    The exit status is 1 if anything would be refused, and 2 if a file could not be read whole; the others are judged \
    all the same."
)]
pub struct ReplayArgs {
    /// Message, mailbox, directory or capture
    #[arg(value_name = "MBOX|MAILDIR|PCAP", required = true)]
    pub paths: Vec<PathBuf>,

    /// Virtual patches of this bundle [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,

    /// A shield's configuration, whose exceptions hold [default: none hold]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Only rules of this group; may be given again
    #[arg(long, value_name = "GROUP")]
    pub only: Vec<ReplayGroup>,

    /// How strict the rules on content are
    #[arg(long, value_name = "LEVEL", default_value = "default")]
    pub level: ScanLevel,

    /// Ports of mail servers in captures; may be given again
    #[arg(long, value_name = "PORT", default_values_t = [25, 587])]
    pub port: Vec<u16>,

    /// Examples of each rule
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub examples: usize,

    /// How to write what was found
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ScanFormat,
}

/// Groups of rules that `shield replay` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReplayGroup {
    /// The generic rules on SMTP.
    Generic,
    /// The virtual patches.
    Patch,
    /// The rules on what is in a message.
    Content,
}

/// How strict `shield scan` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScanLevel {
    /// Refuses what no honest mail is known to hold.
    Default,
    /// Refuses what little honest mail holds.
    Strict,
    /// Refuses what a place that expects attacks does without.
    Paranoid,
}

/// Output formats of `shield scan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScanFormat {
    /// For a person: what is not accepted, and why.
    Text,
    /// One JSON object a line and message.
    Jsonl,
}

/// `mailkeep shield export`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "What the program has no words for stands at the end of its rules, as comments with the reason."
)]
pub struct ExportArgs {
    /// For Suricata 7
    #[arg(long, required = true)]
    pub suricata: bool,

    /// Rules of this bundle [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,

    /// A port that mail comes to; may be given again
    #[arg(long, value_name = "PORT", default_values_t = [25, 587])]
    pub port: Vec<u16>,
}

/// `mailkeep shield eve`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Alerts by rules of others, and other records, are counted and left out. What is new goes into the log of \
    events; reading a log again that has grown adds only what was not there before.\n\nThe exit status is 1 where something was \
    seen, or a line could not be read."
)]
pub struct EveArgs {
    /// Its log of events: eve.json
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Fleet file; `address` of its hosts tells which was meant [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// The bundle that was exported [default: the rules that come with the program]
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,

    /// Add nothing to the log of events
    #[arg(long)]
    pub dry_run: bool,

    /// One JSON object for each rule, source and server
    #[arg(long)]
    pub jsonl: bool,
}

/// `mailkeep shield bundle`.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Select for each shield of the fleet file the rules that the servers behind it need now
    Build(BuildArgs),
    /// Sign a bundle with your SSH key
    Sign(SignArgs),
    /// Say whether a shield would take a bundle
    Verify(VerifyArgs),
}

/// `mailkeep shield bundle build`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Each bundle is written to NAME.toml in the directory, NAME being the shield's. One that is there \
    and still right is left as it is, so that its signature counts on. Without --all, a fleet file with \
    [[shield]] says which servers are behind which shield, and what was found on them decides."
)]
pub struct BuildArgs {
    /// Only these shields
    #[arg(value_name = "SHIELD")]
    pub shields: Vec<String>,

    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// Select every rule, for any shield, into this file; no fleet file is needed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shields", "into"])]
    pub all: Option<PathBuf>,

    /// Directory to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub into: PathBuf,

    /// Days until it expires; a shield takes none that has
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=730))]
    pub days: u16,

    /// Let this rule refuse, though it only tells by default: you have checked it; may be given again
    #[arg(long, value_name = "RULE")]
    pub enforce: Vec<String>,

    /// Let this rule only tell; may be given again
    #[arg(long, value_name = "RULE")]
    pub monitor: Vec<String>,
}

/// `mailkeep shield bundle sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The bundle; the signature is written beside it, with .sig behind its name
    pub bundle: PathBuf,

    /// Your key: a private key file, or a public one whose private half your agent or security key has
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// `mailkeep shield bundle verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The bundle
    pub bundle: PathBuf,

    /// Who may sign: the file that the shield's `bundle_signers` names (ssh-keygen(1), ALLOWED SIGNERS)
    #[arg(long, value_name = "FILE")]
    pub signers: PathBuf,

    /// The signature [default: the bundle's name with .sig behind it]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
}

/// `mailkeep shield status`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "The exit status is 1 where somebody should look: a shield or a server behind one does not answer, \
    definitions are old or of unknown age, something is held."
)]
pub struct ShieldStatusArgs {
    /// Only these shields
    #[arg(value_name = "SHIELD")]
    pub shields: Vec<String>,

    /// Fleet file [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

/// `mailkeep shield quarantine`.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// What is kept: when, by which rule, from whom, for whom
    List(ListArgs),
    /// One message: its record; with --key what today's rules say of it; with --raw its octets
    Show(ShowArgs),
    /// Hand messages to their recipients after all, past the shield
    #[command(name = "release")]
    ReleaseMail(ReleaseMailArgs),
    /// Judge all that is kept by today's rules and definitions
    Rescan(RescanArgs),
    /// Tell recipients what was kept from them, and how to recognise the next one; each message and lesson once
    Digest(DigestArgs),
    /// What was kept from each team, and how many of its people have had which lesson
    Figures(FiguresArgs),
}

/// `mailkeep shield quarantine list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The quarantine: `folder` in the shield's configuration
    #[arg(long, value_name = "DIR", value_parser = crate::commands::shield::quarantine::folder)]
    pub folder: PathBuf,

    /// Only messages whose rule, sender, recipient, subject, id or digest holds this
    #[arg(long, value_name = "TEXT")]
    pub about: Option<String>,

    /// Those that were released, too
    #[arg(long)]
    pub all: bool,

    /// One JSON object a line
    #[arg(long)]
    pub jsonl: bool,

    /// Fleet file; it says where the log is [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

/// `mailkeep shield quarantine show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The message's id, as `list` shows it
    pub id: String,

    /// The quarantine: `folder` in the shield's configuration
    #[arg(long, value_name = "DIR", value_parser = crate::commands::shield::quarantine::folder)]
    pub folder: PathBuf,

    /// Your key, as age-keygen has made it
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Write the message as it came; careful: it is dangerous
    #[arg(long, requires = "key")]
    pub raw: bool,
}

/// `mailkeep shield quarantine release`.
#[derive(Debug, Args)]
pub struct ReleaseMailArgs {
    /// Ids, as `list` shows them
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,

    /// The quarantine: `folder` in the shield's configuration
    #[arg(long, value_name = "DIR", value_parser = crate::commands::shield::quarantine::folder)]
    pub folder: PathBuf,

    /// Your key, as age-keygen has made it
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// The mail server behind the shield; the port is 25 where none is given
    #[arg(long, value_name = "HOST[:PORT]")]
    pub to: String,

    /// How the connection to it is protected; `none` is only for this machine
    #[arg(long, value_name = "HOW", default_value = "starttls")]
    pub tls: RelayTls,

    /// Only for this recipient; may be given again
    #[arg(long, value_name = "ADDRESS")]
    pub recipient: Vec<String>,

    /// Even if it was released before
    #[arg(long)]
    pub again: bool,

    /// Fleet file; it says where the log is [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RelayTls {
    /// STARTTLS, or nothing is sent
    Starttls,
    /// TLS from the first octet
    Implicit,
    /// Not at all
    None,
}

/// `mailkeep shield quarantine rescan`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "The exit status is 1 where a message would be accepted now, or could not be judged."
)]
pub struct RescanArgs {
    /// The quarantine: `folder` in the shield's configuration
    #[arg(long, value_name = "DIR", value_parser = crate::commands::shield::quarantine::folder)]
    pub folder: PathBuf,

    /// Your key, as age-keygen has made it
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// Ask this virus scanner, too; may be given again
    #[arg(long, value_name = "SOCKET")]
    pub clamd: Vec<PathBuf>,

    /// Fleet file; it says where the log is [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

/// `mailkeep shield quarantine digest`.
#[derive(Debug, Args)]
pub struct DigestArgs {
    /// The quarantine: `folder` in the shield's configuration
    #[arg(long, value_name = "DIR", value_parser = crate::commands::shield::quarantine::folder)]
    pub folder: PathBuf,

    /// Fleet file, whose [notify.mail] says how mail is sent [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// Write a file for each person there instead of mail; they count as told
    #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
    pub into: Option<PathBuf>,

    /// Print what would be sent; nobody counts as told
    #[arg(long)]
    pub dry_run: bool,
}

/// `mailkeep shield quarantine figures`.
#[derive(Debug, Args)]
pub struct FiguresArgs {
    /// The quarantine, for what is kept now: `folder` in the shield's configuration
    #[arg(long, value_name = "DIR", value_parser = crate::commands::shield::quarantine::folder)]
    pub folder: Option<PathBuf>,

    /// Who is in which team: lines of `ADDRESS,TEAM` [default: a team is a domain]
    #[arg(long, value_name = "FILE")]
    pub people: Option<PathBuf>,

    /// Fleet file; it says where the log is [default: as for `check`]
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
}

//! Who says it is whom: the shield asks a name server of its own on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and owns both ends"
)]

mod bench;

use bench::dns::{Dns, Zone};
use bench::mta::{Answered, Mta, milter_address, milter_config};
use bench::{Backend, Shield, config};
use serde_json::Value;
use tempfile::TempDir;

/// The example of RFC 8463, appendix A: one message, two signatures.
const SIGNED: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n \
d=football.example.com; i=@football.example.com;\r\n \
q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n \
subject : date : message-id : from : subject : date;\r\n \
bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n \
Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n\
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n \
d=football.example.com; i=@football.example.com;\r\n \
q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n \
date : message-id : from : subject : date;\r\n \
bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n \
DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n \
dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n\
From: Joe SixPack <joe@football.example.com>\r\n\
To: Suzie Q <suzie@shopping.example.net>\r\n\
Subject: Is dinner ready?\r\n\
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
\r\n\
Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

fn zone() -> Zone {
    let mut zone = Zone::default();
    zone.txt(
        "brisbane._domainkey.football.example.com",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    );
    zone.txt(
        "test._domainkey.football.example.com",
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
    );
    zone.txt("_dmarc.football.example.com", "v=DMARC1; p=reject");
    zone.txt("_dmarc.lax.example", "v=DMARC1; p=none");
    zone.txt("_dmarc.careful.example", "v=DMARC1; p=quarantine");
    zone.txt("client.example", "v=spf1 ip4:192.0.2.0/24 -all");
    zone.txt("own.example", "v=spf1 ip4:198.51.100.0/24 -all");
    zone
}

struct Stand {
    _directory: TempDir,
    dns: Dns,
    shield: Shield,
    mta: Mta,
}

impl Stand {
    fn new(more: &str) -> Self {
        let dns = Dns::start(zone());
        let directory = tempfile::tempdir().unwrap();
        let config = milter_config(&format!(
            "[content]\nlevel = \"off\"\n[authentication]\nnameservers = [\"{}\"]\n\
             own_domains = [\"own.example\"]\npeople = [\"Ada Lovelace\"]\n{more}",
            dns.address
        ));
        let mut shield = Shield::start(directory.path(), &config);
        let mut mta = Mta::connect(milter_address(&mut shield));
        mta.client("client.example", "192.0.2.1", "client.example");
        Self {
            _directory: directory,
            dns,
            shield,
            mta,
        }
    }

    fn send(&mut self, sender: &str, message: &str) -> (Answered, Value) {
        let answer = self
            .mta
            .message(sender, &["b@own.example"], message.as_bytes());
        (answer, self.shield.event("message"))
    }

    fn from(&mut self, sender: &str, from: &str) -> (Answered, Value) {
        self.send(sender, &format!("From: {from}\r\nSubject: x\r\n\r\nx\r\n"))
    }
}

fn results(answer: &Answered) -> &str {
    assert_eq!(answer.inserted.len(), 1, "{answer:?}");
    let (name, value) = &answer.inserted[0];
    assert_eq!(name, "Authentication-Results");
    assert!(value.starts_with(" shield.example;"), "{value}");
    assert!(!value.contains('\r'), "{value}");
    value
}

fn rules(line: &Value) -> Vec<&str> {
    let all = line["rules"].as_array();
    all.map_or_else(Vec::new, |all| {
        all.iter().filter_map(Value::as_str).collect()
    })
}

#[test]
fn a_signed_message_passes_and_a_changed_one_is_refused_as_its_owner_asks() {
    let mut stand = Stand::new("");
    let (answer, _) = stand.send("joe@football.example.com", SIGNED);
    assert!(answer.accepted(), "{answer:?}");
    let said = results(&answer);
    assert_eq!(said.matches("dkim=pass").count(), 2, "{said}");
    assert!(said.contains("dmarc=pass"), "{said}");

    let changed = SIGNED.replace("hungry", "angry");
    let (answer, line) = stand.send("joe@football.example.com", &changed);
    assert!(
        answer.refused_with("550 5.7.1 the domain in From asks"),
        "{answer:?}"
    );
    assert_eq!(line["rule"], "dmarc-reject");
    let trace = line["trace"].as_str().unwrap();
    assert!(answer.reply.unwrap().contains(trace));

    // A signature of somebody else is none of this domain.
    let other = SIGNED.replace(
        "From: Joe SixPack <joe@football.example.com>",
        "From: joe@careful.example",
    );
    let (answer, line) = stand.send("joe@football.example.com", &other);
    assert!(answer.accepted(), "{answer:?}");
    assert!(rules(&line).contains(&"dmarc-quarantine"), "{line}");
}

#[test]
fn spf_alone_may_carry_dmarc_and_is_written_down() {
    let mut stand = Stand::new("");
    stand
        .dns
        .zone
        .lock()
        .unwrap()
        .txt("_dmarc.client.example", "v=DMARC1; p=reject");
    let (answer, line) = stand.from("a@client.example", "a@client.example");
    assert!(answer.accepted(), "{answer:?}");
    let said = results(&answer);
    assert!(
        said.contains("spf=pass") && said.contains("dmarc=pass"),
        "{said}"
    );
    assert_eq!(rules(&line), Vec::<&str>::new());
    stand
        .mta
        .client("other.example", "203.0.113.1", "other.example");
    let (answer, line) = stand.from("a@client.example", "a@client.example");
    assert!(answer.refused_with("550 "), "{answer:?}");
    assert_eq!(rules(&line), ["dmarc-reject", "spf-fail"]);
}

#[test]
fn results_that_claim_to_be_ours_are_taken_away_by_milter_and_by_proxy() {
    let message = "Authentication-Results: other.example; spf=pass\r\n\
                   authentication-results: (x) Shield.Example;\r\n\tdkim=pass\r\n\
                   From: a@client.example\r\n\
                   Authentication-Results: shield.example 1; dmarc=pass\r\n\
                   Subject: x\r\n\r\nAuthentication-Results: shield.example; body\r\n";
    let mut stand = Stand::new("");
    let (answer, _) = stand.send("a@client.example", message);
    assert!(answer.accepted(), "{answer:?}");
    // From the last to the first, so that each number still means what it meant.
    let name = || "Authentication-Results".to_owned();
    assert_eq!(answer.removed, [(name(), 3), (name(), 2)]);

    let (reply, text) = behind_the_proxy(&stand, "", message.as_bytes());
    assert_eq!(reply, "250 2.0.0 queued as 1\r\n");
    let text = text.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "Authentication-Results: shield.example; body\r\n");
    assert!(
        !head.contains("dkim=pass") && !head.contains("dmarc=pass"),
        "{head}"
    );
    assert!(
        head.contains("Authentication-Results: other.example; spf=pass\r\n"),
        "{head}"
    );
    assert!(
        head.contains("Authentication-Results: shield.example;\r\n"),
        "{head}"
    );
}

/// What a message becomes behind the proxy.
fn behind_the_proxy(stand: &Stand, more: &str, message: &[u8]) -> (String, Option<String>) {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(&["PIPELINING"]);
    let more = format!(
        "[authentication]\nnameservers = [\"{}\"]\n{more}",
        stand.dns.address
    );
    let shield = Shield::start(directory.path(), &config(&[backend.address], &more));
    let mut client = shield.client();
    client.begin();
    client.send(message);
    client.send(b".\r\n");
    let reply = client.reply();
    let taken = backend.taken();
    let wire = taken.first().map(|one| one.wire.clone());
    (reply, wire.map(|wire| String::from_utf8(wire).unwrap()))
}

#[test]
fn a_line_that_is_no_header_hides_neither_from_nor_forged_results() {
    let stand = Stand::new("");
    let own = "own_domains = [\"own.example\"]\n";
    for line in ["From x@own.example Mon Nov", " continued", "no header"] {
        let message = format!("{line}\r\nFrom: boss@own.example\r\n\r\nHi.\r\n");
        let (reply, _) = behind_the_proxy(&stand, own, message.as_bytes());
        assert!(reply.starts_with("550 5.7.1 "), "{line:?}: {reply}");
        let message = format!(
            "{line}\r\nAuthentication-Results: shield.example; dmarc=pass\r\nX: 1\r\n\r\nHi.\r\n"
        );
        let (_, taken) = behind_the_proxy(&stand, own, message.as_bytes());
        let taken = taken.unwrap();
        assert!(!taken.contains("dmarc=pass"), "{line:?}: {taken}");
    }
}

#[test]
fn a_message_that_begins_with_a_blank_does_not_go_on_with_our_results() {
    let stand = Stand::new("");
    let message = b" ; dmarc=pass header.from=bank.example\r\nX: 1\r\n\r\nHi.\r\n";
    let (reply, taken) = behind_the_proxy(&stand, "", message);
    assert_eq!(reply, "250 2.0.0 queued as 1\r\n");
    let taken = taken.unwrap();
    let (head, body) = taken.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Authentication-Results: shield.example;"));
    assert!(!head.contains("dmarc=pass"), "{head}");
    assert_eq!(body.as_bytes(), message);
}

#[test]
fn more_forged_results_than_can_be_taken_away_are_refused() {
    let mut stand = Stand::new("");
    let with = |count: usize| {
        let forged = "Authentication-Results: shield.example; dmarc=pass\r\n".repeat(count);
        let foreign = "Authentication-Results: other.example; dmarc=pass\r\n".repeat(500);
        format!("{forged}{foreign}From: a@client.example\r\n\r\nHi.\r\n")
    };
    let mut send = |count: usize| {
        let message = with(count);
        stand
            .mta
            .message("a@client.example", &["b@site.example"], message.as_bytes())
    };
    assert!(send(100).accepted());
    let answer = send(101);
    assert!(
        answer.refused_with("550 5.7.1 it has more results"),
        "{answer:?}"
    );
}

#[test]
fn a_message_that_begins_as_in_a_mailbox_keeps_its_headers() {
    let stand = Stand::new("");
    for line in [
        "From a@client.example Mon Nov 23",
        ">>From a@client.example Mon",
    ] {
        let message = format!("{line}\r\nFrom: Ada <a@client.example>\r\nX: 1\r\n\r\nHi.\r\n");
        let (reply, taken) = behind_the_proxy(&stand, "", message.as_bytes());
        assert_eq!(reply, "250 2.0.0 queued as 1\r\n");
        let taken = taken.unwrap();
        let (head, body) = taken.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Authentication-Results: shield.example;"));
        let rest = format!("\r\nX-Mailbox-Line: {line}\r\nFrom: Ada <a@client.example>\r\nX: 1");
        assert!(head.ends_with(&rest), "{head}");
        assert_eq!(body, "Hi.\r\n");
    }
}

#[test]
fn mail_from_our_own_domain_comes_from_there_or_not_at_all() {
    let mut stand = Stand::new("");
    let (answer, line) = stand.from("x@client.example", "Boss <boss@own.example>");
    assert!(
        answer.refused_with("550 5.7.1 mail from our own domain"),
        "{answer:?}"
    );
    assert_eq!(line["rule"], "own-domain-from-outside");
    let (answer, _) = stand.from("x@client.example", "boss@sub.OWN.example");
    assert!(answer.refused_with("550 "), "{answer:?}");
    // From where it may come.
    stand
        .mta
        .client("own.example", "198.51.100.9", "own.example");
    let (answer, _) = stand.from("boss@own.example", "boss@own.example");
    assert!(answer.accepted(), "{answer:?}");
}

#[test]
fn names_made_to_be_taken_for_others_are_noticed() {
    let mut stand = Stand::new("");
    for (from, rule) in [
        ("boss@0wn.example", "lookalike-domain"),
        (
            "=?utf-8?q?Ada_Lovelac=D0=B5?= <a@client.example>",
            "own-name-from-outside",
        ),
        (
            "\"boss@own.example\" <a@client.example>",
            "own-name-from-outside",
        ),
        ("a@unrelated.test", "envelope-disagrees"),
    ] {
        let (answer, line) = stand.from("a@client.example", from);
        assert!(answer.accepted(), "{from}: {answer:?}");
        assert_eq!(
            rules(&line),
            match rule {
                "lookalike-domain" => vec![rule, "envelope-disagrees"],
                rule => vec![rule],
            },
            "{from}"
        );
    }
    let (_, line) = stand.from("a@client.example", "a@mail.client.example");
    assert_eq!(rules(&line), Vec::<&str>::new());
}

#[test]
fn a_rule_that_is_set_to_refuse_refuses() {
    let mut stand = Stand::new("actions = { lookalike-domain = \"refuse\" }");
    let (answer, _) = stand.from("a@client.example", "boss@0wn.example");
    assert!(answer.refused_with("550 "), "{answer:?}");
}

#[test]
fn without_name_servers_mail_goes_on_unproven_or_waits_as_policy_says() {
    let mut stand = Stand::new("seconds = 1");
    stand.dns.zone.lock().unwrap().dead = true;
    let (answer, line) = stand.from("a@client.example", "a@client.example");
    assert!(answer.accepted(), "{answer:?}");
    assert!(results(&answer).contains("spf=temperror"), "{answer:?}");
    assert_eq!(rules(&line), ["dns-dead"]);

    let mut stand = Stand::new("seconds = 1\nwhen_dns_dead = \"tempfail\"");
    stand.dns.zone.lock().unwrap().dead = true;
    let (answer, _) = stand.from("a@client.example", "a@client.example");
    assert!(answer.refused_with("451 4.7.1 "), "{answer:?}");
}

#[test]
fn a_sender_who_may_not_send_is_refused_before_the_content_where_policy_says_so() {
    let dns = Dns::start(zone());
    let backend = Backend::start(&["PIPELINING"]);
    for (more, answer) in [
        (
            "spf_before_data = true\nactions = { spf-fail = \"refuse\" }\n",
            "550 5.7.1 ",
        ),
        (
            "spf_before_data = true\nactions = { spf-fail = \"tempfail\" }\n",
            "451 4.7.1 ",
        ),
        ("spf_before_data = true\n", "250 "),
        ("actions = { spf-fail = \"refuse\" }\n", "250 "),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let authentication = format!(
            "[content]\nlevel = \"off\"\n[authentication]\nnameservers = [\"{}\"]\n{more}",
            dns.address
        );
        let mut shield = Shield::start(
            directory.path(),
            &config(&[backend.address], &authentication),
        );
        let mut client = shield.client();
        client.ask("EHLO client.example");
        // This name sends from 192.0.2.0/24 only, and the test comes from loopback.
        client.ask("MAIL FROM:<a@client.example>");
        let before = backend.commands().len();
        for _ in 0..2 {
            let reply = client.ask("RCPT TO:<b@site.example>");
            assert!(reply.starts_with(answer), "{more}: {reply}");
        }
        if answer != "250 " {
            assert_eq!(
                backend.commands().len(),
                before,
                "nobody is asked for recipients"
            );
            assert_eq!(shield.event("refused")["rule"], "spf-fail");
            assert!(client.ask("DATA").starts_with("503 "), "{more}");
            // The next sender of the session is another.
            assert!(client.ask("RSET").starts_with("250 "));
            client.ask("MAIL FROM:<a@unknown.example>");
            assert!(client.ask("RCPT TO:<b@site.example>").starts_with("250 "));
            continue;
        }
        client.ask("DATA");
        client.send(b"From: a@client.example\r\n\r\nx\r\n.\r\n");
        let reply = client.reply();
        let refused = !more.contains("spf_before_data");
        assert_eq!(reply.starts_with("550 "), refused, "{reply}");
        if !refused {
            let taken = backend.taken();
            let wire = String::from_utf8_lossy(&taken.last().unwrap().wire).into_owned();
            assert!(wire.contains("spf=fail"), "{wire}");
        }
    }
}

#[test]
fn who_is_trusted_is_not_asked() {
    let mut stand = Stand::new("trusted_networks = [\"192.0.2.0/24\"]");
    let (answer, _) = stand.from("boss@own.example", "boss@own.example");
    assert!(
        answer.accepted() && answer.inserted.is_empty(),
        "{answer:?}"
    );
}

#[test]
fn what_is_broken_of_another_domain_clears_nobody() {
    let mut stand = Stand::new("seconds = 2");
    let broken = |stand: &Stand| {
        let mut zone = stand.dns.zone.lock().unwrap();
        zone.broken("broken.example", Some("TXT"));
        zone.silent("slow.example", Some("TXT"));
        zone.silent("s._domainkey.slow.example", Some("TXT"));
    };
    broken(&stand);
    let signature = SIGNED
        .split("From:")
        .next()
        .unwrap()
        .replace("football.example.com", "slow.example")
        .replace("s=brisbane", "s=s")
        .replace("s=test", "s=s");
    let signed = format!(
        "{signature}From: joe@football.example.com\r\nSubject: x\r\n\r\nHi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
    );
    for sender in ["x@broken.example", "x@slow.example"] {
        let (answer, line) = stand.from(sender, "joe@football.example.com");
        assert!(answer.refused_with("550 "), "{sender}: {answer:?}");
        assert_eq!(line["rule"], "dmarc-reject");
        let (answer, line) = stand.send(sender, &signed);
        assert!(answer.refused_with("550 "), "{sender}: {answer:?}");
        assert_eq!(line["rule"], "dmarc-reject");
        let (answer, line) = stand.from(sender, "boss@own.example");
        assert!(answer.refused_with("550 "), "{sender}: {answer:?}");
        assert_eq!(line["rule"], "own-domain-from-outside");
    }
    // What might have cleared it is waited for.
    {
        let mut zone = stand.dns.zone.lock().unwrap();
        zone.broken("football.example.com", Some("TXT"));
    }
    let (answer, _) = stand.from("joe@football.example.com", "joe@football.example.com");
    assert!(answer.refused_with("451 "), "{answer:?}");
    stand
        .mta
        .client("own.example", "203.0.113.1", "own.example");
    {
        let mut zone = stand.dns.zone.lock().unwrap();
        zone.broken("mail.own.example", Some("TXT"));
    }
    let (answer, _) = stand.from("boss@mail.own.example", "boss@own.example");
    assert!(answer.refused_with("451 "), "{answer:?}");
}

#[test]
fn a_second_from_hides_nobody_from_his_own_policy() {
    let mut stand = Stand::new("");
    let two = "From: joe@football.example.com\r\nFrom: x@client.example\r\nSubject: x\r\n\r\nx\r\n";
    let (answer, line) = stand.send("x@client.example", two);
    assert!(answer.refused_with("550 "), "{answer:?}");
    assert_eq!(rules(&line)[..2], ["from-ambiguous", "dmarc-reject"]);
    let (answer, line) = stand.from(
        "x@client.example",
        "x@client.example, joe@football.example.com",
    );
    assert!(answer.refused_with("550 "), "{answer:?}");
    assert_eq!(line["rule"], "dmarc-reject");
    let (answer, _) = stand.from("x@client.example", "x@client.example, y@client.example");
    assert!(answer.accepted(), "{answer:?}");
}

/// As for a site below a suffix of two labels.
#[test]
fn a_neighbour_below_the_same_suffix_does_not_speak_for_us() {
    let mut stand = Stand::new("");
    {
        let mut zone = stand.dns.zone.lock().unwrap();
        zone.txt("evil.example", "v=spf1 ip4:192.0.2.0/24 -all");
    }
    let (answer, line) = stand.from("x@evil.example", "ceo@own.example");
    assert!(answer.refused_with("550 "), "{answer:?}");
    assert_eq!(line["rule"], "own-domain-from-outside");
}

//! Sessions as they go over the wire (`dialogues/*.testcase`), each through the real program to a server behind it.
//!
//! A line `> TEXT` is a line of the client, `>> OCTETS` octets of it as they are written, `< REPLY` the answer it gets,
//! or what that begins with (`\n` stands between its lines; the last one holds the answer). `x` hangs up.
//! `b COMMAND = REPLY`: the server behind answers commands that begin so; without a reply it hangs up.
//! `| COMMAND` is what that server is told next of all that it is told; `- TEXT` stands in nothing it was told. `= TEXT` is
//! in the message it took last, `0` says that it took none. In texts `\0`, `\r`, `\n`, `\t`, `\\` and `\xNN`
//! stand for octets, and `*N` behind a text in angle brackets repeats it: `<ab>*3`.

use super::octets::octets;
use super::*;

/// `a<bc>*3d` is `abcbcbcd`.
fn repeated(text: &str) -> String {
    let Some((front, count)) = text.split_once(">*") else {
        return text.to_owned();
    };
    let (before, unit) = front.rsplit_once('<').unwrap();
    let digits = count.len() - count.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, after) = count.split_at(digits);
    format!("{before}{}{after}", unit.repeat(count.parse().unwrap()))
}

fn play(name: &str, dialogue: &str) {
    let (_directory, backend, shield) = stand();
    // What is told to a server to see whether it is there is no part of any session.
    backend.until(|orders| orders.commands.iter().any(|command| command == "QUIT"));
    let mut told = backend.commands().len();
    let mut client = None;
    for (nth, line) in dialogue.lines().enumerate() {
        let place = format!("{name}:{}", nth + 1);
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            "" | "#" => {}
            "b" => {
                let (command, answer) = rest.split_once(" =").unwrap();
                let answer = octets(answer.trim_start());
                let mut answer = String::from_utf8(answer).unwrap();
                if !answer.is_empty() {
                    answer.push_str("\r\n");
                }
                backend.answer(command, &answer);
            }
            ">" | ">>" => {
                let mut sent = octets(&repeated(rest));
                if mark == ">" {
                    sent.extend(b"\r\n");
                }
                let client = client.get_or_insert_with(|| shield.client());
                client.send(&sent);
            }
            "<" => {
                let client: &mut Client = client.as_mut().unwrap();
                let reply = client.reply();
                let wanted = String::from_utf8(octets(rest)).unwrap();
                assert!(
                    reply.replace("\r\n", "\n").starts_with(&wanted),
                    "{place}: {reply:?}"
                );
            }
            "x" => client = None,
            "|" => {
                let rest = String::from_utf8(octets(rest)).unwrap();
                let found = |commands: &[String]| {
                    let mut behind = commands.iter().skip(told);
                    behind.position(|command| *command == rest)
                };
                let began = std::time::Instant::now();
                while found(&backend.commands()).is_none() {
                    let commands = backend.commands();
                    assert!(
                        began.elapsed() < PATIENCE,
                        "{place}: {:#?}",
                        &commands[told..]
                    );
                    std::thread::sleep(Duration::from_millis(2));
                }
                told += found(&backend.commands()).unwrap() + 1;
            }
            "-" => {
                let commands = backend.commands();
                let said = commands.iter().find(|command| command.contains(rest));
                assert_eq!(said, None, "{place}");
            }
            "=" => {
                backend.until(|orders| !orders.taken.is_empty());
                let taken = backend.taken();
                let wire = taken.last().unwrap().wire.escape_ascii().to_string();
                let wanted = octets(rest).escape_ascii().to_string();
                assert!(wire.contains(&wanted), "{place}: {wire}");
            }
            "0" => assert_eq!(backend.taken(), [], "{place}"),
            other => panic!("{place}: {other:?}"),
        }
    }
}

#[test]
fn every_dialogue_goes_as_written() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/dialogues");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let dialogue = std::fs::read_to_string(&path).unwrap();
        play(&path.file_name().unwrap().to_string_lossy(), &dialogue);
        count += 1;
    }
    assert!(count >= 12, "{count} dialogues");
}

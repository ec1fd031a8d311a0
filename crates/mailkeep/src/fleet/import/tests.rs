//! Claims about reading other inventories.
#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a test builds its text in the shortest way"
)]

use mailkeep_model::Problem;
use proptest::prelude::*;

use super::super::{FleetError, parse};
use super::*;

const INI: &str = r#"
# the whole harbour
lone.example ansible_user=root

[mx]
mx[01:03].example.org ansible_port=2222   # three of them
relay:2200 mailkeep_zone=dmz

[mailbox]
box-[a:b]
mx01.example.org ansible_host=192.0.2.1

[eu:children]
mx
mailbox

[eu:vars]
ansible_user = scan
http_port=80
ansible_ssh_common_args='-o ProxyJump=bastion,inner -o StrictHostKeyChecking=yes'

[mx:vars]
ansible_user="mxscan"
"#;

const YAML: &str = r#"
all:
  vars: {ansible_user: root, timezone: UTC}
  children:
    eu:
      vars: &shared
        ansible_user: scan
        ansible_ssh_common_args: "-J bastion"
      children:
        mx:
          hosts:
            mx[1:2].example.org:
            mx1.example.org: {ansible_host: 192.0.2.1, ansible_port: 2222}
    us:
      vars:
        <<: *shared
        ansible_user: usscan
      hosts:
        box.example.org:
          mailkeep_services: [mailbox, submission]
          disks: {a: 1}
"#;

fn names(hosts: &[ImportedHost]) -> Vec<&str> {
    hosts.iter().map(|host| host.name.as_str()).collect()
}

fn host<'a>(hosts: &'a [ImportedHost], name: &str) -> &'a ImportedHost {
    hosts.iter().find(|host| host.name == name).unwrap()
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn an_ini_inventory_gives_hosts_ranges_groups_and_variables() {
    let (hosts, problems) = ansible_ini(INI);
    assert_eq!(
        names(&hosts),
        [
            "box-a",
            "box-b",
            "lone.example",
            "mx01.example.org",
            "mx02.example.org",
            "mx03.example.org",
            "relay"
        ]
    );
    let mx1 = host(&hosts, "mx01.example.org");
    assert_eq!(mx1.address.as_deref(), Some("192.0.2.1"));
    assert_eq!(mx1.port, Some(2222));
    assert_eq!(
        mx1.user.as_deref(),
        Some("mxscan"),
        "a child group speaks after its parent"
    );
    assert_eq!(mx1.jump, ["bastion", "inner"]);
    assert_eq!(
        mx1.groups,
        ["eu", "mailbox", "mx"].map(str::to_owned).into()
    );
    assert_eq!(host(&hosts, "box-a").user.as_deref(), Some("scan"));
    assert_eq!(host(&hosts, "relay").port, Some(2200));
    assert_eq!(host(&hosts, "relay").zone.as_deref(), Some("dmz"));
    assert_eq!(host(&hosts, "lone.example").groups.len(), 0);
    assert_eq!(
        texts(&problems),
        [
            "ssh option StrictHostKeyChecking=yes: not used (6 times, first box-a)",
            "variable http_port: not used (6 times, first box-a)",
        ]
    );
}

#[test]
fn a_yaml_inventory_gives_the_same() {
    let (hosts, problems) = ansible_yaml(YAML);
    assert_eq!(
        names(&hosts),
        ["box.example.org", "mx1.example.org", "mx2.example.org"],
        "{problems:?}"
    );
    let mx1 = host(&hosts, "mx1.example.org");
    assert_eq!(mx1.address.as_deref(), Some("192.0.2.1"));
    assert_eq!(mx1.port, Some(2222));
    assert_eq!(mx1.user.as_deref(), Some("scan"));
    assert_eq!(mx1.jump, ["bastion"]);
    assert_eq!(mx1.groups, ["eu", "mx"].map(str::to_owned).into());
    let boxes = host(&hosts, "box.example.org");
    assert_eq!(
        boxes.services,
        ["mailbox", "submission"].map(str::to_owned).into()
    );
    assert_eq!(
        boxes.user.as_deref(),
        Some("usscan"),
        "a key beside << wins"
    );
    assert_eq!(boxes.jump, ["bastion"]);
    assert_eq!(
        texts(&problems),
        [
            "variable disks: not used (box.example.org)",
            "variable timezone: not used (3 times, first box.example.org)",
        ]
    );
}

#[test]
fn a_table_is_read_with_either_separator() {
    for text in [
        "name,address,region,zone,services,lifecycle,family,owner,user,port,jump,rack\nmx1,192.0.2.1,eu,dmz,inbound-mx submission,running,postfix,post,scan,2222,bastion,R7\n",
        "\u{feff}Name;Address;Region;Zone;Services;Lifecycle;Family;Owner;User;Port;Jump;Rack\r\nmx1;192.0.2.1;eu;dmz;inbound-mx,submission;Running;postfix;post;scan;2222;bastion;R7\r\n",
    ] {
        let (hosts, problems) = csv(text);
        let mx1 = host(&hosts, "mx1");
        assert_eq!(mx1.address.as_deref(), Some("192.0.2.1"));
        assert_eq!(
            mx1.services,
            ["inbound-mx", "submission"].map(str::to_owned).into()
        );
        assert_eq!((mx1.port, mx1.jump.len()), (Some(2222), 1));
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].record.to_lowercase().contains("rack"),
            "{problems:?}"
        );
    }
}

#[test]
fn a_bad_row_is_named_and_the_rest_goes_on() {
    let (hosts, problems) = csv(
        "name,port,lifecycle\nmx1,70000,running\n,22,running\n-x,22,running\nMX1,22,running\nmx2,22,gone\nmx3,22,decommissioned,more\n\n",
    );
    assert_eq!(names(&hosts), ["mx1", "mx2", "mx3"]);
    assert_eq!(host(&hosts, "mx3").lifecycle, Lifecycle::Decommissioned);
    let problems = texts(&problems);
    for (at, says) in [
        "line 2: port \"70000\": is no port",
        "line 3: name: must not be empty",
        "line 4: name: must not begin with a dash",
        "line 5: left out: host MX1 is on line 2 already",
        "line 6: lifecycle \"gone\"",
        "line 7: 4 cells for 3 columns",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(problems[at].starts_with(says), "{problems:#?}");
    }
    assert!(texts(&csv("address\n192.0.2.1\n").1)[0].contains("no column called name"));
    assert!(!csv("").1.is_empty());
}

#[test]
fn a_group_is_what_a_rule_says_it_is() {
    let (mut hosts, _) = ansible_ini(INI);
    let rules: Vec<GroupRule> = [
        "region=eu",
        "service=mx:inbound-mx",
        "service=mailbox",
        "zone=nobody:dmz",
        "family=mx:postfix",
        "family=mailbox:dovecot",
    ]
    .iter()
    .map(|rule| rule.parse().unwrap())
    .collect();
    let problems = apply_groups(&mut hosts, &rules);
    let mx1 = host(&hosts, "mx01.example.org");
    assert_eq!(mx1.region.as_deref(), Some("eu"));
    assert_eq!(
        mx1.services,
        ["inbound-mx", "mailbox"].map(str::to_owned).into()
    );
    assert_eq!(
        mx1.family.as_deref(),
        Some("postfix"),
        "the first rule counts"
    );
    assert_eq!(
        texts(&problems),
        [
            "nobody: no host is in this group",
            "mx01.example.org: group mailbox says family dovecot, but it already has postfix",
        ]
    );
    for bad in ["", "mx", "colour=mx", "region=", "region=a:"] {
        assert!(bad.parse::<GroupRule>().is_err(), "{bad}");
    }
}

#[test]
fn what_is_written_is_a_fleet_file() {
    let (mut hosts, _) = ansible_ini(INI);
    apply_groups(
        &mut hosts,
        &["region=eu".parse().unwrap(), "service=mx".parse().unwrap()],
    );
    let text = to_toml(&hosts, None);
    let (file, problems) = parse(&text).unwrap();
    assert_eq!(problems, []);
    assert_eq!(file.fleet.hosts.len(), hosts.len());
    let mx1 = &file.fleet.hosts["mx01.example.org"];
    assert_eq!(mx1.access.jump, ["bastion", "inner"]);
    assert!(text.contains("# groups: eu, mailbox, mx\n[hosts.\"mx01.example.org\"]"));
    assert!(
        text.contains("[zones.dmz]\nexposed = true"),
        "the safe value"
    );
}

#[test]
fn what_is_added_to_a_fleet_file_declares_nothing_twice() {
    let (hosts, _) =
        csv("name,region,zone,owner,services\nmx1,eu,dmz,post,in\nmx2,us,dmz,post,in\n");
    let first = to_toml(&hosts[..1], None);
    let (file, _) = parse(&first).unwrap();
    let added = to_toml(&hosts, Some(&file.fleet));
    let (both, _) = parse(&format!("{first}\n{added}")).unwrap();
    assert_eq!(both.fleet.hosts.len(), 2);
    assert_eq!(both.fleet.regions.len(), 2);
    assert!(added.contains("# mx1 is in the fleet file already"));
}

#[test]
fn a_range_cannot_fill_the_memory() {
    for text in [
        "mx[1:99999999999]\n",
        "a[1:99999]b[1:99999]\n",
        "x[0:18446744073709551615]\n",
    ] {
        let (hosts, problems) = ansible_ini(text);
        assert_eq!(hosts.len(), 0);
        assert!(
            problems[0].reason.contains("more than the 200000 hosts"),
            "{problems:?}"
        );
    }
    for text in [
        "mx[3:1]\n",
        "mx[1\n",
        "mx[a:3]\n",
        "mx[::]x[1:2:0]\n",
        "mx[01-12]\n",
    ] {
        let (hosts, problems) = ansible_ini(text);
        assert_eq!((hosts.len(), problems.len()), (0, 1), "{text}");
    }
    let (hosts, _) = ansible_ini("n[008:010:2]\n");
    assert_eq!(names(&hosts), ["n008", "n010"]);
}

#[test]
fn groups_that_contain_each_other_are_named() {
    let (hosts, problems) =
        ansible_ini("[a]\nmx1 ansible_user=x\n[a:children]\nb\n[b:children]\na\n");
    assert_eq!(names(&hosts), ["mx1"]);
    assert!(
        texts(&problems)[0].contains("contain each other"),
        "{problems:?}"
    );
}

#[test]
fn an_ipv6_address_is_no_range() {
    let (hosts, problems) = ansible_ini("[mx]\n2001:db8::1\n[2001:db8::2]:2222\n");
    assert_eq!(problems, []);
    assert_eq!(names(&hosts), ["2001:db8::1", "2001:db8::2"]);
    assert_eq!(hosts[1].port, Some(2222));
}

#[test]
fn what_only_ansible_can_fill_in_is_named() {
    let (hosts, problems) = ansible_ini("mx1 ansible_host={{ip}} ansible_user=-oProxyCommand=x\n");
    assert_eq!(hosts[0].address, None);
    assert_eq!(hosts[0].user, None, "ssh would take it for an option");
    assert_eq!(problems.len(), 2);
}

#[test]
fn unreadable_headings_and_lines_are_named() {
    let (hosts, problems) =
        ansible_ini("[mx:hosts]\nlost\n[mx\n[mx]\nmx1 junk\nmx2 a=\"open\n[mx:vars]\nno value\n");
    assert_eq!(names(&hosts), ["mx1"]);
    assert_eq!(problems.len(), 6, "{problems:#?}");
}

#[test]
fn aliases_that_multiply_themselves_are_refused() {
    let mut text = String::from("a0: &a0 {hosts: {x: {}}}\n");
    for level in 1..40 {
        let below = level - 1;
        let copies: Vec<_> = (0..9).map(|n| format!("k{n}: *a{below}")).collect();
        text.push_str(&format!("a{level}: &a{level} {{{}}}\n", copies.join(", ")));
    }
    let (hosts, problems) = ansible_yaml(&text);
    assert_eq!(hosts.len(), 0);
    assert!(
        problems[0].reason.starts_with("not YAML that is read"),
        "{problems:?}"
    );
}

#[test]
fn deep_and_broken_yaml_is_refused() {
    for text in [
        "[".repeat(100_000),
        format!("a: {}", "{b: ".repeat(100_000)),
        (0..500)
            .map(|n| format!("{}g{n}:\n", " ".repeat(n)))
            .collect(),
        "a: [1\n".to_owned(),
        "- a\n- b\n".to_owned(),
        "just text".to_owned(),
    ] {
        let (hosts, problems) = ansible_yaml(&text);
        assert_eq!(hosts.len(), 0);
        assert_eq!(problems.len(), 1);
    }
    assert_eq!(ansible_yaml(""), (vec![], vec![]));
}

#[test]
fn many_hosts_may_share_one_anchor() {
    let mut text = String::from("all:\n  vars: &v {ansible_user: scan}\n  hosts:\n");
    for n in 0..500 {
        text.push_str(&format!("    mx{n}: *v\n"));
    }
    let (hosts, problems) = ansible_yaml(&text);
    assert_eq!(hosts.len(), 500, "{problems:?}");
    assert_eq!(hosts[0].user.as_deref(), Some("scan"));
}

proptest! {
    #[test]
    fn nothing_panics(text in "[\\PC\n\t]{0,200}") {
        let _ = (ansible_ini(&text), ansible_yaml(&text), csv(&text));
    }

    #[test]
    fn any_inventory_is_written_as_a_fleet_file(
        lines in proptest::collection::vec(
            "(\\[[a-c](:children|:vars)?\\]|[a-d.é\"]{1,4}(\\[1:3\\])?( ansible_(host|user|port)=[a-c1-9\"']{1,3})?( mailkeep_(zone|region|owner|services|jump)=\\PC{1,6})?|[a-c])",
            0..12,
        ),
    ) {
        let (hosts, _) = ansible_ini(&lines.join("\n"));
        let text = to_toml(&hosts, None);
        match parse(&text) {
            Ok((file, _)) => prop_assert_eq!(file.fleet.hosts.len(), hosts.len()),
            Err(FleetError::Mistakes(faults)) => prop_assert!(false, "{}\n{}", faults, text),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_table_written_and_read_again_is_the_same_fleet(
        rows in proptest::collection::vec(("[a-z][a-z0-9.-]{0,8}", "[a-z]{0,3}", 0u16..70, "[a-z ]{0,6}"), 0..6),
    ) {
        let mut text = String::from("name,region,port,services\n");
        for (name, region, port, services) in &rows {
            text.push_str(&format!("{name},{region},{port},{services}\n"));
        }
        let (hosts, _) = csv(&text);
        let (file, _) = parse(&to_toml(&hosts, None)).unwrap();
        for imported in &hosts {
            let read = &file.fleet.hosts[imported.name.as_str()];
            prop_assert_eq!(read.access.port, imported.port);
            prop_assert_eq!(read.region.as_ref().map(mailkeep_model::RegionName::as_str), imported.region.as_deref());
            prop_assert_eq!(read.services.len(), imported.services.len());
        }
    }
}

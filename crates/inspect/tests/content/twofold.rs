//! Archives that are something else as well, lie behind something else, or say two things of one member.

use mailkeep_inspect::Level;
use mailkeep_inspect::kind::{self, Kind};

use crate::build;
use crate::refusing;

/// The rules that refuse something by default.
fn refused(name: &str, octets: &[u8]) -> Vec<String> {
    refusing(name, "application/octet-stream", octets, Level::Default)
}

#[test]
fn a_tar_whose_first_name_is_a_signature_is_read_as_a_tar_too() {
    for name in [
        "GIF89a",
        "II*",
        "PK\u{3}\u{4}",
        "{\\rtf",
        "ID3",
        "xar!",
        "070701",
        "BZh91AY&SY",
        "OTTO",
        "dex\n0",
    ] {
        let tar = build::tar(&[(name, b"Hello.", None), ("b.exe", &build::program(), None)]);
        assert_ne!(kind::of(&tar), Kind::Tar, "{name}");
        assert!(
            refused("a.tar", &tar).contains(&"executable".to_owned()),
            "{name}"
        );
        let packed = build::gzip(&tar);
        assert!(
            refused("a.tar.gz", &packed).contains(&"executable".to_owned()),
            "{name}"
        );
        let honest = build::tar(&[(name, b"Hello.", None), ("b.txt", b"Hello.", None)]);
        if name != "dex\n0" {
            assert_eq!(refused("a.tar", &honest), [""; 0], "{name}");
        }
    }
}

#[test]
fn a_cd_whose_first_sector_is_something_else_is_read_as_a_cd_too() {
    let image = crate::archives::unpacked("joliet-rock.iso.gz");
    for start in [
        &b"GIF89a"[..],
        b"PK\x03\x04",
        b"{\\rtf1",
        b"\x1f\x8b\x08",
        b"%PDF-1.4",
    ] {
        let mut image = image.clone();
        image[..start.len()].copy_from_slice(start);
        assert_ne!(kind::of(&image), Kind::Iso);
        let strict: Vec<_> = crate::attachment("a.img", "", &image, Level::Strict)
            .into_iter()
            .map(|reason| reason.rule)
            .collect();
        assert!(strict.iter().any(|rule| rule == "disk-image"), "{strict:?}");
        let mut names = Vec::new();
        for hidden in kind::hidden(&image, kind::of(&image)) {
            names.push(hidden.kind);
        }
        assert_eq!(names, [Kind::Iso]);
    }
}

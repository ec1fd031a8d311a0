//! Disks of UDF as a stranger may write them: what costs much, and what programs would read in two ways.

use mailkeep_inspect::unpack::{self, Trouble};
use mailkeep_inspect::{Budget, Limit, Limits, kind};

use crate::bounds::looked;

const BLOCK: usize = 512;

/// Where the partition begins, in blocks; the descriptors of the volume lie before it.
const FIRST: u32 = 79;

const DIRECTORY: u8 = 4;
const FILE: u8 = 5;

/// A descriptor of this kind: its fields by their places.
fn descriptor(tag: u16, length: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut octets = vec![0; length];
    for (at, field) in fields {
        octets[*at..*at + field.len()].copy_from_slice(field);
    }
    octets[..4].copy_from_slice(&[tag.to_le_bytes(), 2_u16.to_le_bytes()].concat());
    octets[4] = octets[..16]
        .iter()
        .fold(0, |sum, one| sum.wrapping_add(*one));
    octets
}

/// The entry of a file of such pieces: block and length.
fn entry(kind: u8, pieces: &[(u32, u32)]) -> Vec<u8> {
    let list: Vec<u8> = pieces
        .iter()
        .flat_map(|(block, length)| [length.to_le_bytes(), block.to_le_bytes()].concat())
        .collect();
    let size: u64 = pieces.iter().map(|(_, length)| u64::from(*length)).sum();
    descriptor(
        261,
        176 + list.len(),
        &[
            (20, &[4]),
            (27, &[kind]),
            (56, &size.to_le_bytes()),
            (172, &u32::try_from(list.len()).unwrap().to_le_bytes()),
            (176, &list),
        ],
    )
}

/// What a directory says of a file: its name, the block of its entry, whether it is a directory.
fn listed(name: &str, block: u32, flags: u8) -> Vec<u8> {
    let length = (39 + name.len()).next_multiple_of(4);
    descriptor(
        257,
        length,
        &[
            (18, &[flags, u8::try_from(name.len() + 1).unwrap()]),
            (24, &block.to_le_bytes()),
            (38, &[&[8], name.as_bytes()].concat()),
        ],
    )
}

/// A disk of these blocks; the first one is the root's entry.
fn disk(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut image = vec![0; 76 * BLOCK];
    image[16 * 2048 + 1..16 * 2048 + 6].copy_from_slice(b"NSR02");
    let volume = [
        descriptor(5, BLOCK, &[(188, &FIRST.to_le_bytes())]),
        descriptor(
            6,
            BLOCK,
            &[
                (212, &512_u32.to_le_bytes()),
                (268, &[1]),
                (440, &[1, 6, 1, 0, 0, 0]),
            ],
        ),
        descriptor(8, BLOCK, &[]),
        descriptor(256, BLOCK, &[(404, &[1])]),
    ];
    for block in volume.iter().chain(blocks) {
        let end = image.len() + BLOCK;
        image.extend(block);
        image.resize(end, 0);
    }
    let place = [1536_u32.to_le_bytes(), 76_u32.to_le_bytes()].concat();
    image.extend(descriptor(2, BLOCK, &[(16, &place)]));
    image
}

/// The members by their first names, and what is wrong.
fn members(image: &[u8]) -> (Vec<(String, Vec<u8>)>, Vec<Trouble>) {
    let mut found = Vec::new();
    let mut budget = Budget::new(&Limits::default());
    let troubles = unpack::members(image, kind::of(image), &mut budget, &mut |member, _| {
        found.push((member.names[0].clone(), member.octets.to_vec()));
    });
    (found, troubles)
}

fn hello(name: &str) -> (String, Vec<u8>) {
    (name.to_owned(), b"Hello.".to_vec())
}

#[test]
fn a_small_disk_is_read() {
    let image = disk(&[
        entry(DIRECTORY, &[(2, 84)]),
        [listed("a.txt", 3, 0), listed("b", 5, 2)].concat(),
        entry(FILE, &[(4, 6)]),
        b"Hello.".to_vec(),
        entry(DIRECTORY, &[(6, 44)]),
        listed("c.txt", 3, 0),
    ]);
    let (found, troubles) = members(&image);
    assert_eq!(found, [hello("a.txt"), hello("b/c.txt")]);
    assert_eq!(troubles, []);
}

/// Each of a thousand directories says that it is as long as the disk.
#[test]
fn directories_that_overlap_are_not_read_again_and_again() {
    let (count, padding) = (1000, 4000);
    let names: Vec<u8> = (0..count)
        .flat_map(|nth| listed(&format!("{nth:04}"), 200 + nth, 2))
        .collect();
    let length = u32::try_from(names.len()).unwrap();
    let mut blocks = vec![entry(DIRECTORY, &[(2, length)])];
    blocks.extend(names.chunks(BLOCK).map(<[u8]>::to_vec));
    blocks.resize(199, Vec::new());
    let whole = (count + padding) * 512;
    blocks.extend((0..count).map(|_| entry(DIRECTORY, &[(0, whole)])));
    blocks.extend((0..padding).map(|_| vec![0; BLOCK]));
    assert_eq!(
        looked(&disk(&blocks), &Limits::default()),
        (vec![], vec![Limit::Parts])
    );
}

#[test]
fn pieces_of_files_are_counted_over_all_files() {
    let names: Vec<u8> = (0..600)
        .flat_map(|nth| listed(&format!("{nth:04}"), 200, 0))
        .collect();
    let length = u32::try_from(names.len()).unwrap();
    let mut blocks = vec![entry(DIRECTORY, &[(2, length)])];
    blocks.extend(names.chunks(BLOCK).map(<[u8]>::to_vec));
    blocks.resize(199, Vec::new());
    blocks.extend(
        entry(FILE, &vec![(2, 1); 1000])
            .chunks(BLOCK)
            .map(<[u8]>::to_vec),
    );
    let (found, reached) = looked(&disk(&blocks), &Limits::default());
    assert!(found.len() < 600, "{}", found.len());
    assert_eq!(reached, [Limit::Parts]);
}

#[test]
fn what_is_listed_and_not_understood_is_said() {
    let root = |flags| {
        vec![
            entry(DIRECTORY, &[(2, 44)]),
            listed("a.txt", 3, flags),
            entry(FILE, &[(4, 6)]),
            b"Hello.".to_vec(),
        ]
    };
    assert_eq!(members(&disk(&root(0))).1, []);
    let mut broken = root(0);
    broken[2][4] ^= 1;
    assert_eq!(
        members(&disk(&broken)),
        (vec![], vec![Trouble::NotUnpacked])
    );
    // A strategy by which another entry may take the place of this one.
    let mut strategy = root(0);
    strategy[2][20..22].copy_from_slice(&4096_u16.to_le_bytes());
    assert_eq!(
        members(&disk(&strategy)),
        (vec![hello("a.txt")], vec![Trouble::NotUnpacked])
    );
    let mut partition = root(0);
    partition[1][28] = 7;
    assert_eq!(
        members(&disk(&partition)),
        (vec![], vec![Trouble::NotUnpacked])
    );
    // It is listed as a directory, and its entry says that it is a file.
    assert_eq!(members(&disk(&root(2))).0, [hello("a.txt")]);
}

#[test]
fn a_directory_that_is_listed_as_a_file_is_looked_into() {
    let image = disk(&[
        entry(DIRECTORY, &[(2, 44)]),
        listed("b", 3, 0),
        entry(DIRECTORY, &[(4, 44)]),
        listed("c.txt", 5, 0),
        entry(FILE, &[(6, 6)]),
        b"Hello.".to_vec(),
    ]);
    assert_eq!(members(&image), (vec![hello("b/c.txt")], vec![]));
}

#[test]
fn a_second_file_system_that_another_program_would_show_is_read_as_well() {
    let file = |name: &str| {
        vec![
            entry(DIRECTORY, &[(2, 44)]),
            listed(name, 3, 0),
            entry(FILE, &[(4, 6)]),
            b"Hello.".to_vec(),
        ]
    };
    let mut image = disk(&file("a.txt"));
    // A second volume behind the first, named by the reserve of the anchor.
    let anchor = image.split_off(image.len() - BLOCK);
    let second = u32::try_from(image.len() / BLOCK).unwrap();
    let mut behind = disk(&file("b.txt")).split_off(76 * BLOCK);
    behind.truncate(behind.len() - BLOCK);
    let partition = descriptor(5, BLOCK, &[(188, &(second + 3).to_le_bytes())]);
    behind[..BLOCK].copy_from_slice(&partition);
    image.extend(behind);
    let places = [
        &anchor[16..24],
        &1536_u32.to_le_bytes(),
        &second.to_le_bytes(),
    ]
    .concat();
    image.extend(descriptor(2, BLOCK, &[(16, &places)]));
    let (found, troubles) = members(&image);
    assert_eq!(found, [hello("a.txt"), hello("b.txt")]);
    assert!(matches!(troubles.as_slice(), [Trouble::Ambiguous(_)]));
}

/// Its file system of one file, with these descriptors of its volume before those that are there.
fn with_descriptors(before: &[Vec<u8>]) -> Vec<u8> {
    let image = disk(&[
        entry(DIRECTORY, &[(2, 44)]),
        listed("a.txt", 3, 0),
        entry(FILE, &[(4, 6)]),
        b"Hello.".to_vec(),
    ]);
    let mut moved = image[..76 * BLOCK].to_vec();
    for one in before {
        moved.extend(one);
    }
    moved.extend(&image[76 * BLOCK..image.len() - BLOCK]);
    let more = u32::try_from(before.len()).unwrap();
    // The partition begins so much later.
    let partition = (76 + before.len()) * BLOCK;
    let later = descriptor(5, BLOCK, &[(188, &(FIRST + more).to_le_bytes())]);
    moved[partition..partition + BLOCK].copy_from_slice(&later);
    let place = [((3 + more) * 512).to_le_bytes(), 76_u32.to_le_bytes()].concat();
    moved.extend(descriptor(2, BLOCK, &[(16, &place)]));
    moved
}

#[test]
fn of_descriptors_the_one_with_the_highest_number_prevails_and_equal_ones_are_ambiguous() {
    let elsewhere = |number: u32| {
        let place = 5_u32.to_le_bytes();
        descriptor(5, BLOCK, &[(16, &number.to_le_bytes()), (188, &place)])
    };
    let (found, troubles) = members(&with_descriptors(&[]));
    assert_eq!((found, troubles), (vec![hello("a.txt")], vec![]));
    // The one that counts has the number 0.
    let (found, troubles) = members(&with_descriptors(&[elsewhere(1)]));
    assert_eq!((found, troubles), (vec![], vec![Trouble::NotUnpacked]));
    let (_, troubles) = members(&with_descriptors(&[elsewhere(0)]));
    assert!(
        troubles
            .iter()
            .any(|one| matches!(one, Trouble::Ambiguous(_))),
        "{troubles:?}"
    );
    // As a whole volume that lies elsewhere.
    let other = |number: u32| {
        let fields: [(usize, &[u8]); 4] = [
            (16, &number.to_le_bytes()),
            (212, &512_u32.to_le_bytes()),
            (268, &[1]),
            (440, &[1, 6, 1, 0, 9, 0]),
        ];
        descriptor(6, BLOCK, &fields)
    };
    let (found, troubles) = members(&with_descriptors(&[other(1)]));
    assert_eq!((found, troubles), (vec![], vec![Trouble::NotUnpacked]));
    let (_, troubles) = members(&with_descriptors(&[other(0)]));
    assert!(
        troubles
            .iter()
            .any(|one| matches!(one, Trouble::Ambiguous(_))),
        "{troubles:?}"
    );
}

#[test]
fn descriptors_that_go_on_elsewhere_are_said() {
    let pointer = descriptor(3, BLOCK, &[]);
    let (found, troubles) = members(&with_descriptors(&[pointer]));
    assert_eq!(
        (found, troubles),
        (vec![hello("a.txt")], vec![Trouble::NotUnpacked])
    );
}

/// What a mount shows, and not what lies at the same blocks of the first partition.
#[test]
fn pieces_without_a_partition_lie_in_that_of_their_entry() {
    let mut image = disk(&[
        entry(DIRECTORY, &[(2, 44)]),
        listed("a.txt", 3, 0),
        entry(FILE, &[(4, 6)]),
        b"Hello.".to_vec(),
        entry(FILE, &[(4, 6)]),
        b"Danger".to_vec(),
    ]);
    // A second partition, two blocks behind the first; the listing names the file's entry there.
    let map = [
        (212_usize, &512_u32.to_le_bytes()[..]),
        (268, &[2]),
        (440, &[1, 6, 1, 0, 0, 0, 1, 6, 1, 0, 1, 0]),
    ];
    let mut moved = image[..76 * BLOCK].to_vec();
    moved.extend(descriptor(5, BLOCK, &[(188, &(FIRST + 1).to_le_bytes())]));
    moved.extend(descriptor(
        5,
        BLOCK,
        &[(22, &[1]), (188, &(FIRST + 3).to_le_bytes())],
    ));
    moved.extend(descriptor(6, BLOCK, &map));
    image.truncate(image.len() - BLOCK);
    moved.extend(&image[78 * BLOCK..]);
    let at = 76 * BLOCK + 4 * BLOCK + 2 * BLOCK;
    let mut name = listed("a.txt", 3, 0);
    name[28] = 1;
    moved[at..at + name.len()].copy_from_slice(&name);
    let place = [2048_u32.to_le_bytes(), 76_u32.to_le_bytes()].concat();
    moved.extend(descriptor(2, BLOCK, &[(16, &place)]));
    let (found, _) = members(&moved);
    assert_eq!(found, [("a.txt".to_owned(), b"Danger".to_vec())]);
}

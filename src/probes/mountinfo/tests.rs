use proptest::prelude::*;

use super::*;

const HOST: &str = "\
22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /srv/box rw,nosuid shared:5 master:2 - fuse.sshfs u@box:/data rw,user_id=0,group_id=0,allow_other
31 30 0:31 /sub\\040dir /srv/box/in\\134ner rw - fuse.x none rw,user_id=1000,group_id=1000
33 30 0:33 / /srv/box rw - fuse.sshfs u@box:/data rw,user_id=0
32 33 0:32 / /srv/box rw - tmpfs tmpfs rw
40 22 0:40 / /auto rw - autofs systemd-1 rw
41 40 0:41 / /auto rw - nfs4 server:/x rw
50 22 0:50 / /srv rw - tmpfs cover rw
";

fn table(text: &str) -> MountTable {
    MountTable::new(parse(text.as_bytes()).unwrap())
}

fn ids(mounts: &[&Mount]) -> Vec<u64> {
    mounts.iter().map(|m| m.id).collect()
}

#[test]
fn escapes_are_undone_once_and_options_are_found() {
    let mounts = parse(HOST.as_bytes()).unwrap();
    assert_eq!(mounts[2].path, Path::new("/srv/box/in\\ner"));
    assert_eq!(mounts[2].root, "/sub dir");
    assert_eq!(mounts[1].super_option("user_id"), Some("0"));
    assert!(mounts[1].super_flag("allow_other") && !mounts[2].super_flag("allow_other"));
    assert_eq!(unescape(br"\134043"), br"\043");
    assert_eq!(unescape(br"a\9\40"), br"a\9\40");
}

#[test]
fn layers_are_ordered_by_parent_and_not_by_line() {
    // without the mount that covers /srv: 30 lowest, then 33, then 32 on top
    let open = HOST.lines().take(7).fold(String::new(), |all, line| all + line + "\n");
    let table = table(&open);
    let walk = table.walk(Path::new("/srv/box"));
    assert_eq!((ids(&walk.ancestors), ids(&walk.layers)), (vec![22], vec![30, 33, 32]));
}

#[test]
fn what_lies_under_a_covered_directory_is_listed_but_not_reached() {
    let table = table(HOST);
    let walk = table.walk(Path::new("/srv/box"));
    assert_eq!((ids(&walk.ancestors), ids(&walk.layers)), (vec![22, 50], vec![]));
}

#[test]
fn an_automount_trigger_is_no_layer() {
    let table = table(HOST);
    let walk = table.walk(Path::new("/auto"));
    assert_eq!((ids(&walk.ancestors), ids(&walk.layers)), (vec![22, 40], vec![41]));
}

#[test]
fn nested_mounts_are_found_through_every_generation_deepest_first() {
    let table = table(HOST);
    assert_eq!(ids(&table.nested_in(30)), vec![31, 33, 32]);
    assert_eq!(ids(&table.nested_in(32)), Vec::<u64>::new());
}

#[test]
fn half_a_table_is_no_table() {
    #[track_caller]
    fn check(text: &str, expected: &TableError) {
        assert_eq!(parse(text.as_bytes()).as_ref(), Err(expected));
    }
    check(&HOST[..HOST.len() - 1], &TableError::Torn(8));
    check("", &TableError::Malformed { line: 1, what: "no mount at all" });
    check("\n", &TableError::Malformed { line: 1, what: "mount id" });
    let short = "22 1 0:21 / / rw shared:1 ext4 /dev/sda1 rw\n";
    check(short, &TableError::Malformed { line: 1, what: "separator" });
    let relative = "22 1 0:21 / srv rw - ext4 /dev/sda1 rw\n";
    check(relative, &TableError::Malformed { line: 1, what: "mount point" });
    let more = "22 1 0:21 / / rw - ext4 /dev/sda1 rw extra\n";
    check(more, &TableError::Malformed { line: 1, what: "number of fields" });
    let signed = "+22 1 0:21 / / rw - ext4 /dev/sda1 rw\n";
    check(signed, &TableError::Malformed { line: 1, what: "mount id" });
}

#[test]
fn an_over_long_table_is_not_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(TABLE_BYTES_MAX + 1).unwrap();
    assert_eq!(read_bytes(file.path()), Err(TableError::TooLong));
    file.as_file().set_len(TABLE_BYTES_MAX).unwrap();
    assert!(read_bytes(file.path()).is_ok());
}

#[test]
fn a_table_must_stand_still_where_it_is_looked_at() {
    let at = |id: u64, path: &str| format!("{id} 1 0:21 / {path} rw - fuse.x src rw\n");
    let looks = |tables: Vec<String>, watched: &str| {
        let mut tables = tables.into_iter();
        settled(
            || tables.next().map(String::into_bytes).ok_or(TableError::TooLong),
            |m| m.path == Path::new(watched),
        )
        .map(|table| table.iter().count())
    };
    let (one, two, three) = (at(1, "/a"), at(2, "/a"), at(3, "/a"));
    assert_eq!(looks(vec![one.clone(), one.clone()], "/a"), Ok(1));
    assert_eq!(looks(vec![one.clone(), two.clone()], "/elsewhere"), Ok(1));
    assert_eq!(looks(vec![one.clone(), two.clone(), two.clone()], "/a"), Ok(1));
    assert_eq!(looks(vec![one, two, three], "/a"), Err(TableError::Changing));
}

/// As the kernel writes it (`fs/seq_file.c` `mangle_path` with " \t\n\\#").
fn escape(name: &[u8]) -> Vec<u8> {
    name.iter().fold(Vec::new(), |mut out, byte| {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => out.extend(format!("\\{byte:03o}").into_bytes()),
            _ => out.push(*byte),
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::worlds(20_000)))]

    #[test]
    fn any_name_survives_the_escapes(name in proptest::collection::vec(1_u8.., 0..60)) {
        prop_assert_eq!(unescape(&escape(&name)), name.clone());
        let mut line = b"1 0 0:5 / /".to_vec();
        line.extend(escape(&name));
        line.extend(b" rw - fuse.x ");
        line.extend(escape(&name));
        line.extend(b" rw\n");
        let mounts = parse(&line).unwrap();
        prop_assert_eq!(mounts[0].source.as_bytes(), &name[..]);
        prop_assert_eq!(&mounts[0].path.as_os_str().as_bytes()[1..], &name[..]);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_half_pass(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(mounts) = parse(&bytes) {
            prop_assert_eq!(mounts.len(), bytes.split(|b| *b == b'\n').count() - 1);
        }
    }

    #[test]
    fn a_cut_table_is_never_taken_for_a_whole_one(cut in 0..HOST.len()) {
        let expected = HOST[..cut].ends_with('\n');
        prop_assert_eq!(parse(&HOST.as_bytes()[..cut]).is_ok(), expected);
    }
}

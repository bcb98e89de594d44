//! Who reads the textfile directory: processes that were started with it on their command line, or that call
//! themselves `node_exporter` and were started without one.

use std::path::Path;

/// The flag, as `node_exporter --help` has it.
const FLAG: &str = "--collector.textfile.directory";
/// Where Debian's package has its default compiled in.
const DEBIAN_DEFAULT: &str = "/var/lib/prometheus/node-exporter";
/// Debian's program.
const DEBIAN_PROGRAM: &str = "prometheus-node-exporter";

/// The processes that read `dir`.
///
/// # Errors
/// The process table cannot be read.
pub fn reading(dir: &Path) -> Result<Vec<i32>, String> {
    let all = procfs::process::all_processes().map_err(|error| error.to_string())?;
    // whoever ends meanwhile reads nothing
    let commands = all.filter_map(|process| {
        let process = process.ok()?;
        Some((process.pid, process.cmdline().ok()?))
    });
    Ok(commands.filter(|(_, words)| reads(words, dir)).map(|(pid, _)| pid).collect())
}

fn reads(words: &[String], dir: &Path) -> bool {
    let Some((program, flags)) = words.split_first() else { return false };
    let mut given = None;
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        match flag.strip_prefix(FLAG) {
            Some("") => given = flags.next().map(String::as_str),
            Some(rest) => given = rest.strip_prefix('=').or(given),
            None => {}
        }
    }
    match given {
        Some(given) => Path::new(given) == dir,
        None => program.ends_with(DEBIAN_PROGRAM) && dir == Path::new(DEBIAN_DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_may_stand_in_either_form_or_be_the_default_of_the_package() {
        let dir = Path::new("/var/lib/prometheus/node-exporter");
        for (line, expected) in [
            (
                "/usr/bin/node_exporter --collector.textfile.directory=/var/lib/prometheus/node-exporter",
                true,
            ),
            (
                "/usr/bin/node_exporter --collector.textfile.directory /var/lib/prometheus/node-exporter -x",
                true,
            ),
            ("/usr/bin/node_exporter --collector.textfile.directory=/srv/metrics", false),
            ("/usr/bin/node_exporter", false),
            ("/usr/bin/prometheus-node-exporter", true),
            (
                "/usr/bin/prometheus-node-exporter --collector.textfile.directory=/srv/metrics",
                false,
            ),
            ("/bin/grep --collector.textfile.directory", false),
            ("", false),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(reads(&words, dir), expected, "{line}");
        }
    }
}

//! `[jobs]`: how this host runs jobs of our own queue. What a job of a type does stands in a file of its own
//! (`job_type`); here is where those files are, how much is run at once, and the runner's times. `[jobs.NAME]` has
//! what this host wants otherwise for one type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::bucket::{Bucket, is_known};
use super::check::Checker;
use super::container::Said;
use super::defaults::{table, time};
use super::fragment::{DurationText, JobsFragment, OfTypeFragment};
use super::job_type::Types;
use super::queue::{Adapter, Queue};
use super::tree::{KeyPath, Node, Origin, Tree};

/// Most at once: 1000.
pub const CONCURRENCY_MAX: u32 = 1000;
/// Shortest and longest of the runner's times: 10 ms and 1 h.
const TIME_MIN: Duration = Duration::from_millis(10);
const TIME_MAX: Duration = Duration::from_secs(3600);
/// Longest `tidy`: 1 day.
const TIDY_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most that must be free, MiB or inodes.
const FREE_MAX: u32 = 1_000_000_000;
/// Longest time that anything is kept: 10 years.
const KEEP_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// The worker's unit where there is no other.
pub const UNIT: &str = "unwedge-runner.service";

/// `[jobs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jobs {
    /// The directory of the type files. Default `/etc/unwedge/jobs.d`.
    pub dir: PathBuf,
    /// How many of a type at once, where neither its file nor its table says. Default 1, from 0 (none) to 1000.
    pub concurrency: u32,
    /// How many of all types at once. Default as many as there are cores, from 0 (none) to 1000.
    pub slots: Option<u32>,
    /// How often work is looked for where none was. Default 2 s.
    pub poll: Duration,
    /// How often it beats. Default 15 s.
    pub beat: Duration,
    /// How long nothing of a job may move until it is shown as slow, or as hanging on its storage. Default 60 s.
    pub slow: Duration,
    /// How often others are looked at. Default 30 s.
    pub sweep: Duration,
    /// How often what was put aside is looked through, at most. Default 1 h.
    pub tidy: Duration,
    /// How often programs of types are looked for. Default 5 min.
    pub tools: Duration,
    /// How long a command that is asked to end may take. Default 10 s.
    pub grace: Duration,
    /// How long running jobs may go on once the runner is to end. Default 90 s.
    pub drain: Duration,
    /// How long jobs are left to workers that have their paths, and the first tool of their type. Default 120 s.
    pub prefer_wait: Duration,
    /// So often a job may lose its worker. Default 3, from 1 to 1000.
    pub rescues: u32,
    /// Whether `jobs submit` starts the runner where nobody could take what it puts in. Default no.
    pub autostart: bool,
    /// MiB that must be free where a type writes, or nothing of it is taken. Default 64.
    pub min_free_mib: u64,
    /// Inodes, likewise. Default 1000.
    pub min_free_inodes: u64,
    /// Where the runner gives a sign of life, once a minute. Default nowhere.
    pub sign: Option<Sign>,
    /// How commands are run, of types that do not say it themselves.
    pub run: Said,
    /// How long what is kept; 0 is for ever.
    pub keep: Keep,
    /// Single types.
    pub each: BTreeMap<String, OfType>,
}

/// Where a runner gives its sign of life; `{host}` stands for the name of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// In a file.
    File(PathBuf),
    /// In an object.
    Object {
        /// Its bucket, as it is called here.
        bucket: String,
        /// Its key.
        key: String,
    },
}

/// How long what is kept; 0 is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Jobs that are done. Default 7 days.
    pub done: Duration,
    /// Those that failed. Default 30 days.
    pub failed: Duration,
    /// Those that were called off. Default 1 day.
    pub cancelled: Duration,
    /// Those that are put aside, where the cause is the item itself. Default 30 days.
    pub quarantined: Duration,
    /// What was done to jobs, and by whom. Default 30 days.
    pub events: Duration,
    /// What commands said. Default 7 days.
    pub logs: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        let days = |count: u64| Duration::from_secs(count * 24 * 3600);
        Self {
            done: days(7),
            failed: days(30),
            cancelled: days(1),
            quarantined: days(30),
            events: days(30),
            logs: days(7),
        }
    }
}

/// `[jobs.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfType {
    /// How many at once on this host. Default what its file says.
    pub concurrency: Option<u32>,
    /// The variable that says it: it names its type as variables can.
    pub variable: Option<String>,
}

/// The name of a type as one of a variable has it, in which there are neither capitals nor `-`.
#[must_use]
pub fn in_variables(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

impl Default for Jobs {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            dir: PathBuf::from("/etc/unwedge/jobs.d"),
            concurrency: 1,
            slots: None,
            poll: secs(2),
            beat: secs(15),
            slow: secs(60),
            sweep: secs(30),
            tidy: secs(3600),
            tools: secs(300),
            grace: secs(10),
            drain: secs(90),
            prefer_wait: secs(120),
            rescues: 3,
            autostart: false,
            min_free_mib: 64,
            min_free_inodes: 1000,
            sign: None,
            run: Said::default(),
            keep: Keep::default(),
            each: BTreeMap::new(),
        }
    }
}

impl Jobs {
    /// How many of a type are wanted at once, whose file says so many.
    #[must_use]
    pub fn concurrency_of(&self, name: &str, by_file: Option<u32>) -> u32 {
        let here = self.each.get(name).and_then(|it| it.concurrency);
        here.or(by_file).unwrap_or(self.concurrency)
    }

    /// Gives what variables say to the types that they mean, whatever capitals and `-` those have in their names.
    ///
    /// # Errors
    /// One may mean any of several.
    pub fn settle(&mut self, types: &Types) -> Result<(), String> {
        let good = types.good.iter().map(|it| it.name.as_str());
        let names: BTreeSet<&str> = good.chain(types.bad.iter().map(|it| it.0.as_str())).collect();
        for (name, told) in std::mem::take(&mut self.each) {
            let Some(variable) = &told.variable else {
                self.each.insert(name, told);
                continue;
            };
            let is_meant = |it: &&&str| in_variables(it) == in_variables(&name);
            let meant: Vec<&str> = names.iter().filter(is_meant).copied().collect();
            match meant[..] {
                [] => self.each.insert(name, told),
                [one] => self.each.insert(one.to_owned(), told),
                [..] => {
                    return Err(format!(
                        "{variable}: any of the types {} may be meant; say it in a file",
                        meant.join(", ")
                    ));
                }
            };
        }
        Ok(())
    }

    /// What the configuration says of types that are not there, and so says in vain: a slip would pass in silence.
    #[must_use]
    pub fn in_vain(&self, types: &Types) -> Vec<String> {
        let known: Vec<&str> = types.good.iter().map(|it| it.name.as_str()).collect();
        let is_known = |name: &&String| {
            known.contains(&name.as_str()) || types.bad.iter().any(|it| it.0 == **name)
        };
        let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let dir = crate::sys::text::path(&self.dir);
        let strangers = self.each.keys().filter(|name| !is_known(name));
        strangers
            .map(|name| format!("[jobs.{name}]: no such type in {dir}; there are {there}"))
            .collect()
    }
}

/// Makes settings of `[jobs]`.
pub(super) fn jobs(
    check: &mut Checker<'_>,
    written: JobsFragment,
    queue: Option<&Queue>,
    buckets: &[Bucket],
) -> Jobs {
    let at = KeyPath::of(&["jobs"]);
    let default = Jobs::default();
    let many = 0..=CONCURRENCY_MAX;
    let time = |check: &mut Checker<'_>, key, written, default| {
        check.duration(&at.key(key), written, default, TIME_MIN..=TIME_MAX)
    };
    let run = run(check, &at, &written);
    let sign = sign(check, &at, &written, buckets);
    let keep = keep(check, &at, &written);
    let mut jobs = Jobs {
        dir: written
            .dir
            .and_then(|text| check.absolute(&at.key("dir"), &text))
            .unwrap_or(default.dir),
        concurrency: check.count(
            &at.key("concurrency"),
            written.concurrency,
            default.concurrency,
            many.clone(),
        ),
        slots: written
            .slots
            .map(|slots| check.count(&at.key("slots"), Some(slots), 1, many.clone())),
        poll: time(check, "poll", written.poll, default.poll),
        beat: time(check, "beat", written.beat, default.beat),
        slow: time(check, "slow", written.slow, default.slow),
        sweep: time(check, "sweep", written.sweep, default.sweep),
        tidy: check.duration(
            &at.key("tidy"),
            written.tidy,
            default.tidy,
            Duration::ZERO..=TIDY_MAX,
        ),
        tools: time(check, "tools", written.tools, default.tools),
        grace: time(check, "grace", written.grace, default.grace),
        drain: check.duration(
            &at.key("drain"),
            written.drain,
            default.drain,
            Duration::ZERO..=TIME_MAX,
        ),
        prefer_wait: check.duration(
            &at.key("prefer_wait"),
            written.prefer_wait,
            default.prefer_wait,
            Duration::ZERO..=TIME_MAX,
        ),
        rescues: check.count(
            &at.key("rescues"),
            written.rescues,
            default.rescues,
            1..=CONCURRENCY_MAX,
        ),
        autostart: written.autostart.unwrap_or(default.autostart),
        min_free_mib: u64::from(check.count(
            &at.key("min_free_mib"),
            written.min_free_mib,
            64,
            0..=FREE_MAX,
        )),
        min_free_inodes: u64::from(check.count(
            &at.key("min_free_inodes"),
            written.min_free_inodes,
            1000,
            0..=FREE_MAX,
        )),
        sign,
        run,
        keep,
        each: written
            .each
            .into_iter()
            .map(|(name, written)| of_type(check, &at, name, &written))
            .collect(),
    };
    if let Some(queue) = queue {
        // whoever looks more rarely than that hears no silence to its end
        jobs.sweep = jobs.sweep.min(queue.terms.lease / 2);
    }
    match queue {
        Some(queue) if queue.adapter != Adapter::Unwedge => check.problem(
            &KeyPath::of(&["queue", "adapter"]),
            "[jobs] runs jobs of our own queue alone, expected adapter = \"unwedge\"",
        ),
        // two that are lost do not end a lease
        Some(queue) if queue.terms.lease < 3 * jobs.beat => {
            let told = "is too long for [queue] lease, expected at most a third of it";
            check.problem(&at.key("beat"), told);
        }
        Some(_) | None => {}
    }
    jobs
}

fn keep(check: &mut Checker<'_>, at: &KeyPath, written: &JobsFragment) -> Keep {
    let default = Keep::default();
    let mut kept = |key, written: &Option<DurationText>, default| {
        check.duration(&at.key(key), written.clone(), default, Duration::ZERO..=KEEP_MAX)
    };
    Keep {
        done: kept("keep_done", &written.keep_done, default.done),
        failed: kept("keep_failed", &written.keep_failed, default.failed),
        cancelled: kept("keep_cancelled", &written.keep_cancelled, default.cancelled),
        quarantined: kept("keep_quarantined", &written.keep_quarantined, default.quarantined),
        events: kept("keep_events", &written.keep_events, default.events),
        logs: kept("keep_logs", &written.keep_logs, default.logs),
    }
}

fn sign(
    check: &mut Checker<'_>,
    at: &KeyPath,
    written: &JobsFragment,
    buckets: &[Bucket],
) -> Option<Sign> {
    match (&written.sign_path, &written.sign_bucket, &written.sign_key) {
        (None, None, None) => None,
        (Some(path), None, None) => check.absolute(&at.key("sign_path"), path).map(Sign::File),
        (None, Some(bucket), Some(key)) => {
            is_known(check, &at.key("sign_bucket"), bucket, buckets);
            Some(Sign::Object { bucket: bucket.clone(), key: key.clone() })
        }
        (..) => {
            check.problem(&at.key("sign_path"), "expected sign_path, or sign_bucket and sign_key");
            None
        }
    }
}

/// How commands are run, of types that do not say it themselves.
fn run(check: &mut Checker<'_>, at: &KeyPath, written: &JobsFragment) -> Said {
    let run = Said {
        mode: written.mode,
        engine: written.engine.clone(),
        image: written.image.clone(),
        network: written.network.clone(),
        pull: written.pull,
    };
    if let Some(problem) = run.problem() {
        check.problem(at, problem);
    }
    run
}

fn of_type(
    check: &mut Checker<'_>,
    at: &KeyPath,
    name: String,
    written: &OfTypeFragment,
) -> (String, OfType) {
    let at = at.key(&name).key("concurrency");
    let concurrency =
        written.concurrency.map(|count| check.count(&at, Some(count), 1, 0..=CONCURRENCY_MAX));
    let variable = match check.origin(&at) {
        Origin::Variable(variable) => Some(variable),
        Origin::Default | Origin::File { .. } | Origin::Flag(_) => None,
    };
    (name, OfType { concurrency, variable })
}

/// The keys that a variable may set, with what they are by default.
pub(super) fn defaults() -> Value {
    let default = Jobs::default();
    let whole = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    table([
        ("dir", Value::from(default.dir.display().to_string())),
        ("concurrency", Value::from(default.concurrency)),
        ("poll", time(default.poll)),
        ("beat", time(default.beat)),
        ("slow", time(default.slow)),
        ("sweep", time(default.sweep)),
        ("tidy", time(default.tidy)),
        ("tools", time(default.tools)),
        ("grace", time(default.grace)),
        ("drain", time(default.drain)),
        ("prefer_wait", time(default.prefer_wait)),
        ("rescues", Value::from(default.rescues)),
        ("autostart", Value::from(default.autostart)),
        ("min_free_mib", whole(default.min_free_mib)),
        ("min_free_inodes", whole(default.min_free_inodes)),
        ("keep_done", time(default.keep.done)),
        ("keep_failed", time(default.keep.failed)),
        ("keep_cancelled", time(default.keep.cancelled)),
        ("keep_quarantined", time(default.keep.quarantined)),
        ("keep_events", time(default.keep.events)),
        ("keep_logs", time(default.keep.logs)),
    ])
}

/// Puts the defaults in where there is a `[jobs]`, and what stands on it: a queue in a file, and the runner as the
/// worker that is looked after, where nothing else is said.
pub(super) fn complete(tree: &mut Tree) {
    let Node::Table(sections) = &mut tree.node else { return };
    let state_dir = KeyPath::of(&["host", "state_dir"]);
    let Some(Tree { node: Node::Table(keys), .. }) = sections.get_mut("jobs") else { return };
    if let Node::Table(all) = Tree::from_value(defaults(), &Origin::Default).node {
        for (key, value) in all {
            keys.entry(key).or_insert(value);
        }
    }
    let Some(Value::String(state_dir)) = tree.get(&state_dir).map(Tree::to_value) else { return };
    let services = tree.get(&KeyPath::of(&["host", "services"])).map(Tree::to_value);
    let Node::Table(sections) = &mut tree.node else { return };
    let queue = table([
        ("url", Value::from(format!("sqlite://{state_dir}/queue/queue.db"))),
        ("adapter", Value::from("unwedge")),
    ]);
    sections.entry("queue".to_owned()).or_insert_with(|| Tree::from_value(queue, &Origin::Default));
    // a runner that is no unit is looked after by nobody, unless somebody says how
    if services == Some(Value::from("process")) && !sections.contains_key("worker") {
        return;
    }
    let worker = sections
        .entry("worker".to_owned())
        .or_insert_with(|| Tree::from_value(table([]), &Origin::Default));
    if let Node::Table(keys) = &mut worker.node
        && !keys.contains_key("start")
    {
        let unit = || Tree::from_value(Value::from(UNIT), &Origin::Default);
        keys.entry("unit".to_owned()).or_insert_with(unit);
    }
}

#[cfg(test)]
mod tests {
    use super::super::container::{Mode, Pull};
    use super::super::from_str;
    use super::super::job_type::JobType;
    use super::super::queue::{Breaker, Database, Reconnect, Terms};
    use super::*;

    #[test]
    fn the_runner_needs_no_storage_to_be_up_and_a_job_of_it_may_be_on_any() {
        let settings = from_str("[jobs]\n[[mount]]\npath = \"/srv/a\"\n").unwrap();
        let worker = settings.worker.clone().unwrap();
        assert_eq!(worker.needs(&settings), [] as [PathBuf; 0]);
        assert_eq!(worker.stands_on(&settings), [PathBuf::from("/srv/a")]);
    }

    #[test]
    fn a_section_is_all_it_takes() {
        let settings = from_str("[jobs]\n").unwrap();
        assert_eq!(settings.jobs, Some(Jobs::default()));
        let queue = settings.queue.unwrap();
        assert_eq!(queue.adapter, Adapter::Unwedge);
        let Database::Url(url) = queue.database else { panic!() };
        assert_eq!(url.0, "sqlite:///var/lib/unwedge/queue/queue.db");
        assert_eq!(settings.worker.unwrap().unit.as_deref(), Some(UNIT));
        let process = from_str("[host]\nservices = \"process\"\n[jobs]\n").unwrap();
        assert!(process.queue.is_some() && process.worker.is_none());
        let none = from_str("").unwrap();
        assert!(none.jobs.is_none() && none.queue.is_none() && none.worker.is_none());
    }

    #[test]
    fn the_usual_numbers_are_those_that_are_promised() {
        let (secs, days) = (Duration::from_secs, |days: u64| Duration::from_secs(days * 86_400));
        let jobs = Jobs::default();
        assert_eq!([jobs.poll, jobs.beat, jobs.sweep], [2, 15, 30].map(secs));
        assert_eq!([jobs.slow, jobs.tidy, jobs.tools], [60, 3600, 300].map(secs));
        assert_eq!([jobs.grace, jobs.drain, jobs.prefer_wait], [10, 90, 120].map(secs));
        assert_eq!((jobs.concurrency, jobs.rescues, jobs.autostart), (1, 3, false));
        let keep = jobs.keep;
        assert_eq!([keep.done, keep.failed, keep.cancelled], [7, 30, 1].map(days));
        assert_eq!([keep.quarantined, keep.events, keep.logs], [30, 30, 7].map(days));
        let terms = crate::config::queue::Terms::default();
        assert_eq!([terms.lease, terms.worker_stale], [120, 60].map(secs));
        assert_eq!([terms.reconnect.first, terms.reconnect.most], [5, 120].map(secs));
        assert_eq!(terms.breaker.after, 5);
        assert_eq!(terms.breaker.waits, [60, 300, 900, 1800].map(secs));
    }

    #[test]
    fn what_is_said_of_a_type_that_is_not_there_is_told() {
        let text = "[jobs.ocr]\nconcurrency = 1\n[jobs.ocrr]\nconcurrency = 0\n[jobs.bad]\nconcurrency = 1\n";
        let jobs = from_str(text).unwrap().jobs.unwrap();
        let kind = "[[tier]]\nargv = [\"/bin/true\"]\n";
        let kind = JobType::parse(std::path::Path::new("ocr.toml"), kind).unwrap();
        let types = Types { good: vec![kind], bad: vec![("bad".to_owned(), "x".to_owned())] };
        let told = jobs.in_vain(&types);
        let is_it = |it: &str| {
            it.starts_with("[jobs.ocrr]: no such type in /") && it.ends_with("; there are ocr")
        };
        assert!(told.len() == 1 && is_it(&told[0]), "{told:?}");
    }

    #[test]
    fn a_variable_means_the_type_whose_name_it_can_have_and_never_one_of_two() {
        let types = |names: &[&str]| {
            let kind = |name: &&str| {
                let file = format!("{name}.toml");
                let text = "[[tier]]\nargv = [\"/bin/true\"]\n";
                JobType::parse(std::path::Path::new(&file), text).unwrap()
            };
            Types { good: names.iter().map(kind).collect(), bad: Vec::new() }
        };
        let variable = "UNWEDGE__JOBS__OCR_A4__CONCURRENCY".to_owned();
        let told = OfType { concurrency: Some(7), variable: Some(variable.clone()) };
        let by_file = OfType { concurrency: Some(5), variable: None };
        let of = |names: &[&str], told: &OfType| {
            let each = BTreeMap::from([("ocr_a4".to_owned(), told.clone())]);
            let mut jobs = Jobs { each, ..Jobs::default() };
            let settled = jobs.settle(&types(names));
            settled.map(|()| names.iter().map(|name| jobs.concurrency_of(name, None)).collect())
        };
        let found: [(&[&str], Vec<u32>); 5] = [
            (&["OCR-a4", "ocr"], vec![7, 1]),
            (&["ocr_a4"], vec![7]),
            (&["Ocr_A4"], vec![7]),
            (&["ocra4", "ocr-a40"], vec![1, 1]),
            (&[], vec![]),
        ];
        for (names, expected) in found {
            assert_eq!(of(names, &told), Ok(expected), "{names:?}");
        }
        let why = of(&["OCR-a4", "ocr_a4"], &told).unwrap_err();
        let expected = "any of the types OCR-a4, ocr_a4 may be meant; say it in a file";
        assert_eq!(why, format!("{variable}: {expected}"));
        // a file has a name as it is
        assert_eq!(of(&["OCR-a4", "ocr_a4"], &by_file), Ok(vec![1, 5]));
        // one whose file is wrong is one of two all the same
        let mut jobs = Jobs { each: [("a_b".to_owned(), told)].into(), ..Jobs::default() };
        let mut both = types(&["a-b"]);
        both.bad.push(("A_b".to_owned(), "x".to_owned()));
        assert!(jobs.settle(&both).unwrap_err().contains("A_b, a-b"));
    }

    #[test]
    fn each_key_sets_what_it_names_and_nothing_else() {
        type Change = fn(&mut Jobs);
        let secs = Duration::from_secs;
        let set: [(&str, Change); 28] = [
            ("dir = \"/x\"", |it| it.dir = "/x".into()),
            ("concurrency = 7", |it| it.concurrency = 7),
            ("slots = 7", |it| it.slots = Some(7)),
            ("poll = \"7s\"", |it| it.poll = Duration::from_secs(7)),
            ("beat = \"7s\"", |it| it.beat = Duration::from_secs(7)),
            ("slow = \"7s\"", |it| it.slow = Duration::from_secs(7)),
            ("sweep = \"7s\"", |it| it.sweep = Duration::from_secs(7)),
            ("tidy = \"7s\"", |it| it.tidy = Duration::from_secs(7)),
            ("tools = \"7s\"", |it| it.tools = Duration::from_secs(7)),
            ("grace = \"7s\"", |it| it.grace = Duration::from_secs(7)),
            ("drain = \"7s\"", |it| it.drain = Duration::from_secs(7)),
            ("prefer_wait = \"7s\"", |it| it.prefer_wait = Duration::from_secs(7)),
            ("rescues = 7", |it| it.rescues = 7),
            ("autostart = true", |it| it.autostart = true),
            ("mode = \"container\"", |it| it.run.mode = Some(Mode::Container)),
            ("engine = [\"/x\", \"y\"]", |it| {
                it.run.engine = Some(vec!["/x".to_owned(), "y".to_owned()]);
            }),
            ("image = \"x:1\"", |it| it.run.image = Some("x:1".to_owned())),
            ("network = \"lan\"", |it| it.run.network = Some("lan".to_owned())),
            ("pull = \"missing\"", |it| it.run.pull = Some(Pull::Missing)),
            ("min_free_mib = 7", |it| it.min_free_mib = 7),
            ("min_free_inodes = 7", |it| it.min_free_inodes = 7),
            ("sign_path = \"/x\"", |it| it.sign = Some(Sign::File("/x".into()))),
            ("keep_done = \"7s\"", |it| it.keep.done = Duration::from_secs(7)),
            ("keep_failed = \"7s\"", |it| it.keep.failed = Duration::from_secs(7)),
            ("keep_cancelled = \"7s\"", |it| it.keep.cancelled = Duration::from_secs(7)),
            ("keep_quarantined = \"7s\"", |it| it.keep.quarantined = Duration::from_secs(7)),
            ("keep_events = \"7s\"", |it| it.keep.events = Duration::from_secs(7)),
            ("keep_logs = \"7s\"", |it| it.keep.logs = Duration::from_secs(7)),
        ];
        for (text, change) in set {
            let mut expected = Jobs::default();
            change(&mut expected);
            assert_ne!(expected, Jobs::default(), "{text}");
            let found = from_str(&format!("[jobs]\n{text}\n")).unwrap();
            assert_eq!(found.jobs, Some(expected), "{text}");
        }
        let queue = |text: &str| {
            from_str(&format!(
                "[jobs]\n[queue]\nurl = \"sqlite:///q\"\nadapter = \"unwedge\"\n{text}\n"
            ))
            .map(|it| it.queue.unwrap())
        };
        let default = Terms::default();
        let terms = |text: &str| queue(text).unwrap().terms;
        assert_eq!(terms(""), default);
        assert_eq!(
            terms("worker_stale = \"7s\""),
            Terms { worker_stale: secs(7), ..default.clone() }
        );
        let reconnect = Reconnect { first: secs(7), ..default.reconnect };
        assert_eq!(terms("reconnect = \"7s\""), Terms { reconnect, ..default.clone() });
        let reconnect = Reconnect { most: secs(7), ..default.reconnect };
        assert_eq!(terms("reconnect_max = \"7s\""), Terms { reconnect, ..default.clone() });
        let breaker = Breaker { after: 7, ..default.breaker.clone() };
        assert_eq!(terms("breaker = 7"), Terms { breaker, ..default.clone() });
        let waits = Breaker { waits: vec![secs(7), secs(8)], ..default.breaker.clone() };
        let found = terms("breaker_waits = [\"7s\", \"8s\"]");
        assert_eq!(found, Terms { breaker: waits.clone(), ..default });
        let waits: Vec<Duration> = (0..4).map(|nth| waits.wait(nth)).collect();
        assert_eq!(waits, [7, 8, 8, 8].map(secs));
        for text in
            ["breaker = 0", "breaker_waits = []", "reconnect = \"3m\"", "worker_stale = \"0s\""]
        {
            assert!(queue(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_says_how_many_for_all_types_and_for_one() {
        let text = "[jobs]\nconcurrency = 2\n[jobs.ocr]\nconcurrency = 0\n[jobs.text]\n";
        let jobs = from_str(text).unwrap().jobs.unwrap();
        for (name, by_file, expected) in
            [("other", None, 2), ("other", Some(5), 5), ("ocr", Some(5), 0), ("text", Some(3), 3)]
        {
            assert_eq!(jobs.concurrency_of(name, by_file), expected, "{name}");
        }
    }

    #[test]
    fn another_worker_and_another_queue_stay_what_they_are() {
        let text = "[jobs]\n[worker]\nunit = \"mine.service\"\n[queue]\nurl = \"postgres://u@h/d\"\nadapter = \"unwedge\"\n";
        let settings = from_str(text).unwrap();
        assert_eq!(settings.worker.unwrap().unit.as_deref(), Some("mine.service"));
        assert!(
            matches!(settings.queue.unwrap().database, Database::Url(url) if url.0.starts_with("postgres"))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            (
                "[jobs]\ncolour = 1\n",
                "[jobs] colour: expected a key of [jobs] or a table for one type",
            ),
            ("[jobs.ocr]\ncolour = 1\n", "[jobs.ocr] colour: unknown key"),
            ("[jobs]\nconcurrency = 1001\n", "[jobs] concurrency: "),
            ("[jobs]\nbeat = \"41s\"\n", "[jobs] beat: is too long for [queue] lease"),
            ("[jobs]\nrescues = 0\n", "[jobs] rescues: "),
            ("[jobs]\ndir = \"jobs.d\"\n", "[jobs] dir: "),
            (
                "[jobs]\n[queue]\nurl = \"sqlite:///q\"\nadapter = \"healtharchive\"\n",
                "[queue] adapter: [jobs] runs jobs of our own queue alone",
            ),
        ] {
            let told = from_str(text).unwrap_err().to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
        from_str("[jobs]\nbeat = \"40s\"\n").unwrap();
        let sweep = |text: &str| from_str(text).unwrap().jobs.unwrap().sweep.as_secs();
        let of_lease =
            "[queue]\nurl = \"sqlite:///q\"\nadapter = \"unwedge\"\nlease = \"50s\"\n[jobs]\n";
        assert_eq!(
            ["[jobs]\nsweep = \"60s\"\n", "[jobs]\nsweep = \"61s\"\n", of_lease].map(sweep),
            [60, 60, 25]
        );
    }
}

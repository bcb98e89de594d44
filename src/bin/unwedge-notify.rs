//! Tells somebody of incidents: one round. It runs as the service user and is the only program that sends anything.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use unwedge::act::deliver::{self, Ping};
use unwedge::act::lock::{self, Tried};
use unwedge::act::{messages as act, store};
use unwedge::cli::NotifyTool;
use unwedge::config::sentinel::Kind;
use unwedge::config::{Loaded, Settings, Starts};
use unwedge::decide::gates;
use unwedge::decide::messages::{decide, is_news};
use unwedge::manifest::{NOTIFY, queue_dir};
use unwedge::operator::notify;
use unwedge::probes::incidents::{self, Incident};
use unwedge::probes::messages as probe;
use unwedge::probes::{facts, vitals};
use unwedge::report::exit::Exit;
use unwedge::report::messages::{self as report, NotifyRound};
use unwedge::report::round::Mode;
use unwedge::report::{out, program};
use unwedge::sys::clock::{Deadline, Now, boottime};
use unwedge::sys::user;

/// For a whole round; its unit ends it 10 s later.
const DEADLINE: Duration = Duration::from_secs(50);

fn main() -> ExitCode {
    program::run(&NOTIFY, |cli: &NotifyTool| &cli.common, run)
}

fn run(cli: &NotifyTool, loaded: &Loaded) -> anyhow::Result<Exit> {
    let (start, deadline) = (boottime(), Deadline::after(DEADLINE));
    let settings = &loaded.settings;
    facts::refuse_own_paths_that_may_hang(settings, Starts::Messages)?;
    let Some(wanted) = &settings.notify else {
        report::say_nobody(&Now::take()?, Mode::of(cli.apply), cli.common.json)?;
        return Ok(Exit::Fine);
    };
    user::leave_root(&settings.host.user, user::LIMIT).map_err(anyhow::Error::msg)?;
    if cli.test {
        out::print(&notify::test(wanted, &Now::take()?)?)?;
        return Ok(Exit::Fine);
    }
    let own = queue_dir(&settings.host);
    let _lock = match cli.apply.then(|| lock::tool(&own, NOTIFY.name)).transpose()? {
        Some(Tried::Busy) => return program::busy(&NOTIFY, cli.common.json),
        Some(Tried::Locked(lock)) => Some(lock),
        None => None,
    };

    // look
    let now = &Now::take()?;
    let (mut state, open) = probe::look(settings, now);
    let (ids, incidents) = unread(settings, &state)?;

    // decide
    let holds = gates::closed(&open, Kind::Notify, now);
    // a dry run shows what would be told if it might
    let may = holds.is_empty() || !cli.apply;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let decision = decide(&state, &incidents, &ids, wanted.repeat, may, now);
    let letters = report::letters(&decision.news, now);

    // act
    let ways = deliver::ways(wanted);
    let (mut tried, mut lost, mut trouble, mut ping) = (Vec::new(), Vec::new(), None, None);
    if cli.apply && open.unreadable.is_none() {
        let sign = |sign: &Ping| {
            let url = wanted.ping.as_ref().filter(|_| holds.is_empty())?;
            Some(deliver::ping(wanted, url, sign))
        };
        // what comes of the first sign is nothing to wait for: the last one counts
        let _ = sign(&Ping::Start);
        store::sweep_of(&NOTIFY, &settings.host, now);
        state = decision.next;
        lost = act::write(&mut state, letters.clone(), &ways, now);
        let stored = store::record(&own, &state).context("store what is to be sent");
        let sent = stored.and_then(|()| {
            // what was written before a hold waits until it is over
            let left = if holds.is_empty() { deadline } else { Deadline::after(Duration::ZERO) };
            act::send(&own, &mut state, wanted, &ways, left, now)
        });
        match sent {
            Ok(done) => tried = done,
            Err(error) => trouble = Some(format!("{error:#}")),
        }
        let wrong = vitals::wrong(settings, now);
        let last = if wrong.is_empty() { Ping::Success } else { Ping::Fail(wrong.join("\n")) };
        ping = sign(&last);
    }

    // report
    let round = NotifyRound {
        now,
        state: &state,
        letters: &letters,
        holds: &holds,
        tried: &tried,
        lost: &lost,
        ping,
        trouble: trouble.as_deref().or(open.unreadable.as_deref()),
        took: boottime().saturating_sub(start),
    };
    report::say(&round, Mode::of(cli.apply), cli.common.json)?;
    if cli.apply {
        report::write(settings, &round)?;
    }
    Ok(round.exit())
}

/// Every id there is, and the incidents that may be news.
fn unread(
    settings: &Settings,
    state: &probe::Messages,
) -> anyhow::Result<(Vec<String>, Vec<Incident>)> {
    let dir = incidents::directory(&settings.host.state_dir);
    let ids = incidents::ids(&dir).context("list incidents")?;
    let mut read = Vec::new();
    for (id, _) in ids.iter().filter(|(id, _)| is_news(state, id)) {
        match incidents::find(&dir, id) {
            Ok(incident) => read.push(incident),
            // one that cannot be read keeps nobody from being told of the others
            Err(error) => out::complain(&format!("{}: {id}: {error}", NOTIFY.program)),
        }
    }
    Ok((ids.into_iter().map(|(id, _)| id).collect(), read))
}

//! Waits for the end of a mount's daemon and for changes of the mount table, and starts a round of
//! `unwedge-mounts` then. Each turn: wait, look, decide, start, report.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use unwedge::act::store;
use unwedge::act::wake::{self, Done};
use unwedge::cli;
use unwedge::config::{self, Loaded, Request, Services, Starts};
use unwedge::decide::watch::Watch;
use unwedge::manifest::WATCH;
use unwedge::probes::facts;
use unwedge::probes::mountinfo::mount_points;
use unwedge::probes::wakes::{Scan, Scene, Wakes};
use unwedge::report::exit::Exit;
use unwedge::report::watch::{Reporter, Standing, say};
use unwedge::sys::clock::{Now, boottime, cpu_time};
use unwedge::sys::manager::{self, Manager};

type Ended<T> = Result<T, (Exit, String)>;

fn main() -> ExitCode {
    let cli = cli::Watch::parse();
    match load(&cli).and_then(|loaded| run(&cli, loaded)) {
        Ok(()) => Exit::Fine.into(),
        Err((exit, why)) => {
            say(&why);
            exit.into()
        }
    }
}

/// The configuration, or why nothing is watched.
fn load(cli: &cli::Watch) -> Ended<Loaded> {
    let request = Request::from_process(cli.config.clone(), mount_points);
    let loaded = config::load(&request).map_err(|errors| (Exit::Usage, errors.to_string()))?;
    let unfit = |why: &str| Err((Exit::Unfit, format!("{why}; nothing is watched")));
    match loaded.settings.host.services {
        Services::Process => return unfit("services = \"process\": there is no unit to start"),
        Services::Systemd if request.euid != 0 => return unfit("only root may start units"),
        Services::Systemd => {}
    }
    facts::refuse_own_paths_that_may_hang(&loaded.settings, Starts::Nothing).map_err(failed)?;
    Ok(loaded)
}

fn failed(error: impl std::fmt::Display) -> (Exit, String) {
    (Exit::Failed, error.to_string())
}

fn run(cli: &cli::Watch, loaded: Loaded) -> Ended<()> {
    let manager = Manager::from_environment().map_err(failed)?;
    let mut wakes = Wakes::open(manager::stop().map_err(failed)?).map_err(failed)?;
    let (mut watch, mut reporter) = (Watch::default(), Reporter::default());
    let mut standing = Standing { config: loaded.digest(), ..Standing::default() };
    let mut settings = loaded.settings;
    let (mut ready, mut pinged) = (false, Duration::ZERO);
    store::sweep_of(&WATCH, &settings.host, &Now::take().map_err(failed)?);
    loop {
        // wait
        let ping_due = manager.ping_every().map_or(Duration::MAX, |every| pinged + every);
        let due = watch.due().min(ping_due).min(reporter.due());
        let limit = due.saturating_sub(boottime());
        let woken = wakes.wait(!watch.looks.is_outdated(), limit);
        if woken.stop {
            manager.tell("STOPPING=1");
            return Ok(());
        }
        let began = boottime();
        watch.woken(&woken, began);

        // look
        if watch.looks.due() <= began {
            let spent = cpu_time();
            let scan = watch.looks.scan(began);
            if scan == Scan::Always {
                match load(cli) {
                    Ok(loaded) => {
                        standing.config = loaded.digest();
                        settings = loaded.settings;
                        reporter.once("config", None);
                    }
                    // one that is just being written is no reason to stop watching
                    Err((Exit::Usage, why)) => reporter.once("config", Some(why)),
                    Err(end) => return Err(end),
                }
            }
            let seen = Scene::look(&settings, watch.scene.as_ref(), scan);
            if let Ok(scene) = &seen {
                let unseen = wakes.hold(scene);
                standing.mounts = scene.mounts.len();
                standing.supported = unseen.is_empty();
                let rest = "what is not seen is left to the timer";
                reporter.once("daemons", unseen.first().map(|why| format!("{why}; {rest}")));
            }
            standing.table_read = seen.is_ok();
            let trouble = seen.as_ref().err().map(|error| format!("{error}; it is read again"));
            reporter.once("table", trouble);
            // decide
            watch.saw(seen.ok(), scan, began, cpu_time().saturating_sub(spent));
        }
        standing.daemons = wakes.daemons();

        // start
        match wake::step(&mut watch.starts, &settings.host.systemctl) {
            Done::Nothing => {}
            Done::Left(what) => say(&what),
            Done::Started(what) => {
                (standing.starts, standing.start_taken) = (standing.starts + 1, true);
                say(&what);
            }
            Done::Failed(what) => {
                standing.start_taken = false;
                say(&what);
            }
        }

        // report
        if reporter.tell(&standing, &settings, began) {
            manager.tell(&standing.status());
        }
        if !std::mem::replace(&mut ready, true) {
            manager.tell("READY=1");
        }
        // only here: a turn that does not come to its end is no sign of life
        if ping_due <= began {
            pinged = began;
            manager.tell("WATCHDOG=1");
        }
    }
}

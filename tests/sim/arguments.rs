//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str = "usage: cargo test --test sim -- [--seeds A..B] [--plan FILE] [--jobs N] [--seconds S] [--trace] [--keep-going]
  without --seeds and --plan: the kept plans, then a few seeds
  --seeds A..B   the plans of these seeds (B is not among them)
  --plan FILE    one plan; with --trace everything that happened
  --jobs N       so many threads; as many as there are cores, unless given
  --seconds S    no new seed after so many seconds
  --keep-going   shrinks and tells the first failure of each check, and goes on";

/// How many seeds run when nothing else is said: a part of `cargo test`.
const FEW: u64 = 60;
const FEW_SECONDS: u64 = 45;

#[derive(Debug)]
pub struct Wanted {
    pub plans: Plans,
    pub seeds: std::ops::Range<u64>,
    pub jobs: usize,
    pub seconds: Option<Duration>,
    pub trace: bool,
    pub keep_going: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Plans {
    None,
    Kept,
    One(PathBuf),
}

/// `None`: there is nothing to do.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Option<Wanted>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut wanted = Wanted {
        plans: Plans::Kept,
        seeds: 0..FEW,
        jobs: cores,
        seconds: Some(Duration::from_secs(FEW_SECONDS)),
        trace: false,
        keep_going: false,
    };
    let mut args = args;
    let mut seconds = None;
    let mut given = false;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--seeds" => {
                let value = value()?;
                let (from, to) = value.split_once("..").ok_or("--seeds is written A..B")?;
                let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no seed"));
                wanted.seeds = number(from)?..number(to)?;
                wanted.plans = Plans::None;
                given = true;
            }
            "--plan" => {
                wanted.plans = Plans::One(value()?.into());
                wanted.seeds = 0..0;
                given = true;
            }
            "--jobs" => wanted.jobs = value()?.parse().map_err(|_| "--jobs is a number")?,
            "--seconds" => {
                let value = value()?.parse().map_err(|_| "--seconds is a number")?;
                seconds = Some(Duration::from_secs(value));
            }
            "--trace" => wanted.trace = true,
            "--keep-going" => wanted.keep_going = true,
            "--list" => return Ok(None),
            // What runners of tests say to every test binary.
            other if other.starts_with("--") && !["--help"].contains(&other) => {}
            "--help" => return Err(String::new()),
            _ => {}
        }
    }
    if given || seconds.is_some() {
        wanted.seconds = seconds;
    }
    wanted.jobs = wanted.jobs.max(1);
    Ok(Some(wanted))
}

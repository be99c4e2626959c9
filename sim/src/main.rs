//! `sim [--seeds N] [--seed S] [--trace]`: plays N seeds from S on; prints those that fail, with how to replay them.
//! `--trace` prints what the agent logs, for looking into one seed.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut seeds = 100;
    let mut first = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--trace" {
            tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).without_time().init();
            continue;
        }
        let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (argument.as_str(), number) {
            ("--seeds", Some(number)) => seeds = number,
            ("--seed", Some(number)) => first = number,
            _ => {
                eprintln!("usage: sim [--seeds COUNT] [--seed FIRST] [--trace]");
                return ExitCode::from(2);
            }
        }
    }
    let failed = sim::play_all(first, seeds);
    println!("{} passed, {} failed", seeds - failed, failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

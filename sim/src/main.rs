//! `sim --seeds N [--seed S]`: plays N seeds from S on; prints the first that fails, with how to replay it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut seeds = 100;
    let mut first = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (argument.as_str(), number) {
            ("--seeds", Some(number)) => seeds = number,
            ("--seed", Some(number)) => first = number,
            _ => {
                eprintln!("usage: sim [--seeds COUNT] [--seed FIRST]");
                return ExitCode::from(2);
            }
        }
    }
    let failed = sim::play_all(first, seeds);
    println!("{} passed, {} failed", seeds - failed, failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! `bench`: figures of our kubelet, and side by side with upstream's, on a private cluster of one node.
//!
//! Reads: the programs that its flags name. Writes: a table on stdout and, with `--json`, a file. It judges nothing.
//!
//! ```text
//! for each round: for each kubelet, in alternating order: [`session`] - start, measurements in order, stop
//! then once: [`floor`] - the same runtime calls without any kubelet
//! then once: [`scale`] - our agent alone, on fakes
//! ```
//! Every kubelet gets the same containerd, API server, images and configuration, with parallel pulls and no limit of requests.

mod book;
mod clock;
mod counters;
mod floor;
mod measure;
mod report;
mod scale;
mod session;
mod usage;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use lab::{Cluster, ControlPlaneParts, Parts, agent::Make, parts::upstream_kubelet};

use crate::report::Report;
use crate::session::{Contender, Rig, Session};

/// What to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// Kubernetes' kubelet v1.37.2
    Upstream,
}

/// The measurements, in their order.
const NAMES: [&str; 14] = [
    "idle", "one", "ten", "many", "rest", "scrape", "exec", "exit", "resize", "restart", "delete", "probes",
    "floor", "scale",
];

#[derive(Debug, Parser)]
#[command(about = "Figures of the kubelet; it prints and never judges")]
struct Args {
    /// The kubelet to measure
    #[arg(long, value_name = "FILE")]
    kubelet: PathBuf,
    /// Measure another kubelet too, in turns, and give the ratio
    #[arg(long, value_enum)]
    against: Option<Against>,
    /// Pods of the figures with many pods
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pods: u16,
    /// How often every kubelet is measured
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only the measurements of these names, with what they need
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = NAMES)]
    only: Vec<String>,
    /// Write the figures as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match bench(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Result<()> {
    let mut contenders =
        vec![Contender { name: "podwright", make: Make::Podwright, program: args.kubelet.clone() }];
    if args.against == Some(Against::Upstream) {
        contenders.push(Contender { name: "upstream", make: Make::Upstream, program: upstream_kubelet()? });
    }
    let mut report = Report::new(contenders.iter().map(|contender| contender.name).collect());
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    // What was measured before something failed is told all the same.
    let result = match NAMES.into_iter().any(|name| name != "scale" && wanted(name)) {
        true => on_a_cluster(args, contenders, &wanted, &mut report),
        false => Ok(()),
    };
    if wanted("scale") {
        scale::measure()?.into_iter().for_each(|figure| report.add("podwright", figure));
    }
    print!("{}", report.table());
    if let Some(file) = &args.json {
        report.write_json(file)?;
    }
    result
}

/// What needs a cluster.
fn on_a_cluster(
    args: &Args,
    mut contenders: Vec<Contender>,
    wanted: &dyn Fn(&str) -> bool,
    report: &mut Report,
) -> Result<()> {
    let (parts, plane_parts) = (Parts::ready()?, ControlPlaneParts::ready()?);
    let mut rig = Rig::new(Cluster::new(&parts, &plane_parts)?)?;
    for round in 0..args.rounds {
        for contender in &contenders {
            eprintln!("round {} of {}: {}", round + 1, args.rounds, contender.name);
            let mut session = Session::begin(&mut rig, contender)?;
            for figure in measure::all(&mut session, usize::from(args.pods), wanted)? {
                report.add(contender.name, figure);
            }
            session.end()?;
        }
        contenders.reverse();
    }
    if wanted("floor") {
        eprintln!("the runtime alone");
        floor::measure(&rig, usize::from(args.pods))?
            .into_iter()
            .for_each(|figure| report.add("runtime alone", figure));
    }
    rig.close()
}

//! The packet filter by the host's own programs `iptables` and `ip6tables`, found on `PATH` (`docs/adr/0009-packet-rules-by-iptables.md`).
//!
//! Reads and writes the tables of the network namespace that the agent runs in. Every word is an argument of its own and no shell
//! reads it; each call ends in [`LIMIT`]. The programs wait for the lock of the tables, so that others who change them are not
//! disturbed. Making something that is there already changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use core_node::packets::{Chain, Family, Place, Wanted};
use ports::PacketFilter;
use ports::packet_filter::PacketFilterError;

use crate::programs::{self, Program, ProgramError};

/// How long one call may take, with the wait for the lock.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the programs wait for the lock of the tables, in seconds; upstream's.
const LOCK_WAIT_SECS: &str = "5";
/// The exit code for what is not there, or is there already.
const NO: i32 = 1;

/// The programs of the host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Iptables;

#[async_trait]
impl PacketFilter for Iptables {
    async fn families(&self) -> Vec<Family> {
        let mut usable = Vec::new();
        for family in [Family::V4, Family::V6] {
            match ask(family, "nat", &["-S", "POSTROUTING"]).await {
                Ok(true) => usable.push(family),
                Ok(false) => tracing::debug!(?family, "no table nat"),
                Err(error) => tracing::debug!(?family, "{error}"),
            }
        }
        usable
    }

    async fn ensure(&self, family: Family, wanted: &Wanted) -> Result<(), PacketFilterError> {
        match wanted {
            // It says no when the chain is there already.
            Wanted::Chain(chain) => {
                let is_made = ask(family, chain.table, &["-N", chain.name]).await?;
                if is_made || self.has_chain(family, chain).await? {
                    return Ok(());
                }
                Err(refused(family, chain.table, &["-N", chain.name]))
            }
            Wanted::Rule { chain, place, words } => {
                let with = |action| [&[action, chain.name], *words].concat();
                if ask(family, chain.table, &with("-C")).await? {
                    return Ok(());
                }
                let add = with(match place {
                    Place::First => "-I",
                    Place::Last => "-A",
                });
                match ask(family, chain.table, &add).await? {
                    true => Ok(()),
                    false => Err(refused(family, chain.table, &add)),
                }
            }
        }
    }

    async fn has_chain(&self, family: Family, chain: &Chain) -> Result<bool, PacketFilterError> {
        ask(family, chain.table, &["-S", chain.name]).await
    }
}

fn program(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

fn refused(family: Family, table: &str, words: &[&str]) -> PacketFilterError {
    failed(family, table, words, "it was refused".to_owned())
}

fn failed(family: Family, table: &str, words: &[&str], problem: String) -> PacketFilterError {
    PacketFilterError { command: format!("{} -t {table} {}", program(family), words.join(" ")), problem }
}

/// Runs the program; false when it says no.
async fn ask(family: Family, table: &str, words: &[&str]) -> Result<bool, PacketFilterError> {
    let first = ["-w", LOCK_WAIT_SECS, "-t", table];
    let args = first.iter().chain(words).map(|word| (*word).to_owned());
    let program =
        Program { file: PathBuf::from(program(family)), args: args.collect(), env: Vec::new(), limit: LIMIT };
    let problem = match programs::run(&program, b"").await {
        Ok(_) => return Ok(true),
        Err(ProgramError::Failed { status, .. }) if status.code() == Some(NO) => return Ok(false),
        Err(ProgramError::Failed { status, stderr }) => format!("{status}: {stderr}"),
        Err(ProgramError::Start(error)) => error.to_string(),
        Err(ProgramError::Timeout) => format!("no answer in {LIMIT:?}"),
        Err(ProgramError::TooLong) => "it said too much".to_owned(),
    };
    Err(failed(family, table, words, problem))
}

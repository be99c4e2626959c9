//! Keeps the node's chains and rules in the host's packet filter (CONTRACT 1.12).
//!
//! Reads and writes the packet filter, and nothing else. What must be there, [`packets::wanted`] says; each piece is made when it is
//! missing. The ticker's reason: nobody tells when somebody clears the tables, as `firewall-cmd --reload` does. One look a minute and
//! family at an empty chain finds that out; then everything is made anew.
//!
//! A host without iptables has nothing to keep: that is said once, and the task rests.

use std::sync::Arc;
use std::time::Duration;

use core_node::packets::{self, Family};
use ports::packet_filter::PacketFilterError;
use ports::{Clock, PacketFilter};
use tokio_util::sync::CancellationToken;

use crate::{task, timer};

/// Time between two looks; upstream's.
const PERIOD: Duration = Duration::from_secs(60);

/// One family's rules.
struct Kept {
    family: Family,
    said: Option<PacketFilterError>,
}

/// Keeps the rules until it is stopped.
pub(crate) async fn keep(filter: Arc<dyn PacketFilter>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let work = async {
        let families = filter.families().await;
        if families.is_empty() {
            return tracing::info!("this host has no iptables; the kubelet's chains are not made");
        }
        let mut all: Vec<Kept> = families.into_iter().map(|family| Kept { family, said: None }).collect();
        for kept in &mut all {
            let result = make(filter.as_ref(), kept.family).await;
            kept.tell(result);
        }
        loop {
            timer::until(clock.as_ref(), Some(clock.now() + PERIOD)).await;
            for kept in &mut all {
                let result = look(filter.as_ref(), kept.family).await;
                kept.tell(result);
            }
        }
    };
    task::until_stopped(&stop, work).await;
}

impl Kept {
    /// Says what is new.
    fn tell(&mut self, result: Result<(), PacketFilterError>) {
        match result {
            Ok(()) if self.said.take().is_some() => {
                tracing::info!(family = ?self.family, "packet rules are in place")
            }
            Ok(()) => {}
            Err(error) if self.said.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::error!(family = ?self.family, "packet rules are missing, and are tried again in {PERIOD:?}: {error}");
                self.said = Some(error);
            }
        }
    }
}

/// Makes everything anew when the tables were cleared, or were never complete.
async fn look(filter: &dyn PacketFilter, family: Family) -> Result<(), PacketFilterError> {
    if filter.has_chain(family, &packets::CANARY).await? {
        return Ok(());
    }
    tracing::info!(?family, "somebody has cleared the packet filter; the kubelet's chains are made anew");
    make(filter, family).await
}

async fn make(filter: &dyn PacketFilter, family: Family) -> Result<(), PacketFilterError> {
    for wanted in packets::wanted(family) {
        filter.ensure(family, &wanted).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Mutex, PoisonError};

    use async_trait::async_trait;
    use core_node::packets::{Chain, Wanted};

    use super::*;
    use crate::timer::TokioClock;

    #[derive(Default)]
    struct Filter {
        there: Mutex<BTreeSet<(Family, Wanted)>>,
        is_broken: Mutex<bool>,
        is_missing: bool,
    }

    impl Filter {
        fn there(&self) -> std::sync::MutexGuard<'_, BTreeSet<(Family, Wanted)>> {
            self.there.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn is_complete(&self) -> bool {
            let all = |family| packets::wanted(family).into_iter().map(move |one| (family, one));
            *self.there() == all(Family::V4).chain(all(Family::V6)).collect()
        }

        fn check(&self) -> Result<(), PacketFilterError> {
            match *self.is_broken.lock().unwrap_or_else(PoisonError::into_inner) {
                true => Err(PacketFilterError { command: "iptables".to_owned(), problem: "no".to_owned() }),
                false => Ok(()),
            }
        }
    }

    #[async_trait]
    impl PacketFilter for Filter {
        async fn families(&self) -> Vec<Family> {
            if self.is_missing { Vec::new() } else { vec![Family::V4, Family::V6] }
        }

        async fn ensure(&self, family: Family, wanted: &Wanted) -> Result<(), PacketFilterError> {
            self.check()?;
            self.there().insert((family, *wanted));
            Ok(())
        }

        async fn has_chain(&self, family: Family, chain: &Chain) -> Result<bool, PacketFilterError> {
            self.check()?;
            Ok(self.there().contains(&(family, Wanted::Chain(*chain))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_without_iptables_ends_no_task() {
        let (filter, stop) = (Filter { is_missing: true, ..Filter::default() }, CancellationToken::new());
        let task = tokio::spawn(keep(Arc::new(filter), Arc::new(TokioClock::new()), stop.clone()));
        tokio::time::sleep(2 * PERIOD).await;
        assert!(!task.is_finished(), "the agent would end with it");
        stop.cancel();
        task.await.expect("it ends");
    }

    #[tokio::test(start_paused = true)]
    async fn rules_that_were_cleared_or_could_not_be_made_are_made_within_a_minute() {
        let (filter, stop) = (Arc::new(Filter::default()), CancellationToken::new());
        *filter.is_broken.lock().expect("lock") = true;
        let task = tokio::spawn(keep(filter.clone(), Arc::new(TokioClock::new()), stop.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(filter.there().is_empty());
        *filter.is_broken.lock().expect("lock") = false;
        tokio::time::sleep(PERIOD).await;
        assert!(filter.is_complete());
        filter.there().clear();
        tokio::time::sleep(PERIOD).await;
        assert!(filter.is_complete());
        stop.cancel();
        task.await.expect("it ends");
    }
}

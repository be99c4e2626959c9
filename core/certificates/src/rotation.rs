//! When to ask for a certificate.
//!
//! ```text
//!  Resting --none, wrong, or 70-90 % of its life over--> Request --signed--> Resting
//!                                                         |    ^
//!                                             failed, late|    |2, 4, 8, 16, then every 32 s
//!                                                         +- Pausing
//! ```
//! A template that changes while a request for another is open cancels that request. A client certificate that is missing
//! for five minutes, or has expired, ends the process when the API server refuses requests: a restart may find new
//! credentials, this process cannot.

use std::time::Duration;

use core_types::{MonoTime, WallTime};

use crate::{Content, Purpose, Template};

/// Pauses after failures; the last one stays.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
];
/// A pause is longer by up to this part, at random.
const PAUSE_JITTER: f64 = 0.1;
/// A certificate is renewed after this part of its life at the earliest, and up to [`RENEW_SPREAD`] later.
const RENEW_AFTER: f64 = 0.7;
/// So that the nodes of a cluster that were made together are not renewed together.
const RENEW_SPREAD: f64 = 0.2;
/// How long a node goes on without a client certificate that the API server takes.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The wall clock is looked at so often while a certificate is good for longer: it may be set.
const CLOCK_CHECK: Duration = Duration::from_secs(60 * 60);

/// Both clocks, and chance between 0 and 1.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Orders and spaces.
    pub mono: MonoTime,
    /// Compares with the times of certificates.
    pub wall: WallTime,
    /// Chance.
    pub chance: f64,
}

/// What a failed request says of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// It answered that it does not take our credentials.
    Refuses,
    /// It is away, busy, or has not signed.
    Unknown,
}

/// Input of the machine.
#[derive(Clone, Debug)]
pub enum Event {
    /// What the certificate must say; `None` as long as that is not known.
    Template(Option<Template>),
    /// The request was signed.
    Signed(Content),
    /// The request was not signed.
    Failed(Server),
    /// A deadline passed.
    Tick,
}

/// Output of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask for such a certificate; `Signed` or `Failed` must follow.
    Request(Template),
    /// Give the open request up; `Failed` must follow.
    Cancel,
    /// End the process: only new credentials from outside can help.
    GiveUp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Resting,
    Requesting(Template),
    Pausing(MonoTime),
}

/// The machine of one certificate.
#[derive(Debug)]
pub struct Rotation {
    purpose: Purpose,
    template: Option<Template>,
    current: Option<Content>,
    renew_at: WallTime,
    state: State,
    failures: usize,
    server: Server,
    /// When a certificate was good last.
    good_at: MonoTime,
}

impl Rotation {
    /// Begins with the certificate that is there.
    pub fn new(purpose: Purpose, current: Option<Content>, now: Moment) -> Self {
        let mut rotation = Self {
            purpose,
            template: None,
            renew_at: now.wall,
            current: None,
            state: State::Resting,
            failures: 0,
            server: Server::Unknown,
            good_at: now.mono,
        };
        if let Some(current) = current {
            rotation.take(current, now);
        }
        rotation
    }

    /// When `Tick` is due at the latest.
    pub fn next_deadline(&self, now: Moment) -> Option<MonoTime> {
        let renewal = match &self.state {
            State::Pausing(until) => Some(*until),
            State::Requesting(_) => None,
            State::Resting => {
                let left = self.renew_at.since(now.wall).min(CLOCK_CHECK);
                self.template.is_some().then(|| now.mono + left)
            }
        };
        let end = (self.purpose == Purpose::Client && self.server == Server::Refuses)
            .then(|| self.good_at + PATIENCE);
        renewal.into_iter().chain(end).min()
    }

    /// Takes one event and says what follows from it.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Template(template) => self.template = template,
            Event::Signed(content) => {
                self.state = State::Resting;
                self.failures = 0;
                self.server = Server::Unknown;
                self.take(content, now);
            }
            Event::Failed(server) => {
                let given_up =
                    matches!(&self.state, State::Requesting(of) if Some(of) != self.template.as_ref());
                self.server = server;
                self.state = if given_up { State::Resting } else { State::Pausing(self.pause(now)) };
            }
            Event::Tick => {}
        }
        if let State::Pausing(until) = self.state
            && until <= now.mono
        {
            self.state = State::Resting;
        }
        self.judge(now, &mut effects);
        self.advance(now, &mut effects);
        effects
    }

    fn take(&mut self, content: Content, now: Moment) {
        let life = content.not_after.since(content.not_before);
        let part = RENEW_SPREAD.mul_add(now.chance, RENEW_AFTER);
        self.renew_at = content.not_before + life.mul_f64(part);
        self.current = Some(content);
    }

    fn pause(&mut self, now: Moment) -> MonoTime {
        let pause = PAUSES[self.failures.min(PAUSES.len() - 1)];
        self.failures += 1;
        now.mono + pause.mul_f64(PAUSE_JITTER.mul_add(now.chance, 1.0))
    }

    /// Whether a node that is refused should go on.
    fn judge(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let expired = self.current.as_ref().is_some_and(|current| current.is_expired(now.wall));
        if self.current.is_some() && !expired {
            self.good_at = now.mono;
        }
        let too_long = expired || now.mono >= self.good_at + PATIENCE;
        let bad = self.current.is_none() || expired;
        if self.purpose == Purpose::Client && self.server == Server::Refuses && bad && too_long {
            effects.push(Effect::GiveUp);
        }
    }

    fn advance(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(template) = &self.template else { return };
        let fits = self.current.as_ref().is_some_and(|current| current.satisfies(template));
        match &self.state {
            State::Resting if !fits || self.renew_at <= now.wall => {
                effects.push(Effect::Request(template.clone()));
                self.state = State::Requesting(template.clone());
            }
            State::Requesting(of) if of != template && !fits => effects.push(Effect::Cancel),
            State::Resting | State::Requesting(_) | State::Pausing(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(secs: i64) -> Moment {
        let mono = MonoTime::from_secs(u64::try_from(secs).unwrap());
        Moment { mono, wall: WallTime::from_unix_secs(1_000_000 + secs), chance: 0.5 }
    }

    /// A certificate of this template that lives from `begin` for `secs` seconds.
    fn signed(template: &Template, begin: i64, secs: i64) -> Content {
        Content {
            common_name: template.common_name.clone(),
            organizations: template.organizations.clone(),
            dns_names: template.dns_names.clone(),
            ips: template.ips.clone(),
            not_before: at(begin).wall,
            not_after: at(begin + secs).wall,
        }
    }

    fn signed_long_ago() -> Content {
        let (not_before, not_after) = (WallTime::from_unix_secs(1), WallTime::from_unix_secs(2));
        Content { not_before, not_after, ..signed(&client(), 0, 1) }
    }

    fn client() -> Template {
        Template::client("n1")
    }

    fn started(current: Option<Content>) -> (Rotation, Vec<Effect>) {
        let mut rotation = Rotation::new(Purpose::Client, current, at(0));
        let effects = rotation.step(at(0), Event::Template(Some(client())));
        (rotation, effects)
    }

    #[test]
    fn a_certificate_is_renewed_at_80_percent_of_its_life_in_the_middle() {
        let (mut rotation, effects) = started(Some(signed(&client(), 0, 10 * HOUR)));
        assert_eq!(effects, []);
        assert_eq!(rotation.next_deadline(at(0)), Some(at(HOUR).mono), "the wall clock may be set");
        assert_eq!(rotation.step(at(8 * HOUR - 1), Event::Tick), []);
        assert_eq!(rotation.next_deadline(at(8 * HOUR - 1)), Some(at(8 * HOUR).mono));
        assert_eq!(rotation.step(at(8 * HOUR), Event::Tick), [Effect::Request(client())]);
        assert_eq!(rotation.next_deadline(at(8 * HOUR)), None);
        let new = signed(&client(), 8 * HOUR, 10 * HOUR);
        assert_eq!(rotation.step(at(8 * HOUR), Event::Signed(new)), []);
        assert_eq!(rotation.step(at(16 * HOUR), Event::Tick), [Effect::Request(client())]);
        for (chance, part) in [(0.0, 0.7), (1.0, 0.9)] {
            let moment = Moment { chance, ..at(0) };
            let rotation = Rotation::new(Purpose::Client, Some(signed(&client(), 0, 1000)), moment);
            let after = rotation.renew_at.since(at(0).wall).as_secs_f64();
            assert!((after - 1000.0 * part).abs() < 1.0, "{after}");
        }
    }

    #[test]
    fn pauses_grow_to_32_seconds() {
        let (mut rotation, effects) = started(None);
        assert_eq!(effects, [Effect::Request(client())]);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(rotation.step(at(now), Event::Failed(Server::Unknown)), []);
            let due = rotation.next_deadline(at(now)).unwrap();
            pauses.push(due.since(at(now).mono).as_secs());
            now += 40;
            assert_eq!(rotation.step(at(now), Event::Tick), [Effect::Request(client())]);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 33, 33, 33]);
    }

    #[test]
    fn a_changed_template_is_asked_for_at_once() {
        let serving = |ip: &str| {
            Template::serving("n1", &[crate::NodeAddress::Ip(ip.into())], crate::NamesAlone::NotEnough)
        };
        let (first, second) = (serving("10.0.0.1").unwrap(), serving("10.0.0.2").unwrap());
        let mut rotation = Rotation::new(Purpose::Serving, None, at(0));
        assert_eq!(rotation.step(at(0), Event::Template(None)), [], "no address yet");
        assert_eq!(rotation.next_deadline(at(0)), None);
        let template = |template: &Template| Event::Template(Some(template.clone()));
        assert_eq!(rotation.step(at(1), template(&first)), [Effect::Request(first.clone())]);
        assert_eq!(rotation.step(at(2), template(&second)), [Effect::Cancel]);
        let effects = rotation.step(at(2), Event::Failed(Server::Unknown));
        assert_eq!(effects, [Effect::Request(second.clone())], "without a pause");
        assert_eq!(rotation.step(at(3), Event::Signed(signed(&second, 3, 1000))), []);
        assert_eq!(rotation.step(at(4), template(&second)), []);
        assert_eq!(rotation.step(at(5), template(&first)), [Effect::Request(first)]);
    }

    #[test]
    fn a_node_that_is_refused_gives_up_after_five_minutes_without_a_certificate() {
        let (mut rotation, _) = started(None);
        assert_eq!(rotation.step(at(0), Event::Failed(Server::Unknown)), []);
        assert_eq!(
            rotation.step(at(400), Event::Tick),
            [Effect::Request(client())],
            "the server is away: go on"
        );
        assert_eq!(rotation.step(at(401), Event::Failed(Server::Refuses)), [Effect::GiveUp]);

        let (mut rotation, _) = started(None);
        assert_eq!(rotation.step(at(10), Event::Failed(Server::Refuses)), []);
        assert!(rotation.next_deadline(at(10)).unwrap() <= at(300).mono);
        assert!(rotation.step(at(300), Event::Tick).contains(&Effect::GiveUp));

        let (mut rotation, effects) = started(Some(signed_long_ago()));
        assert_eq!(effects, [Effect::Request(client())], "it has expired");
        assert_eq!(rotation.step(at(1), Event::Failed(Server::Refuses)), [Effect::GiveUp]);
    }
}

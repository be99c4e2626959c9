//! The adapter of systemd-logind on a real D-Bus: what it asks of logind, what it believes, and how it hears of an end.

use std::time::Duration;

use core_types::Shutdown;
use io_logind::{Bus, Logind};
use ports::machine_shutdown::{Held, MachineShutdown as _, ShutdownError, ShutdownWatch};
use tests::{SOON, StandIn, eventually};

/// The adapter, with a thread that waits for it.
struct Ear {
    runtime: tokio::runtime::Runtime,
    logind: Logind,
}

impl Ear {
    fn listen(&self) -> Result<Box<dyn ShutdownWatch>, ShutdownError> {
        self.runtime.block_on(self.logind.listen())
    }

    fn hold(&self, watch: &mut dyn ShutdownWatch, period: Duration) -> Held {
        self.runtime.block_on(watch.hold(period)).unwrap()
    }

    /// The next word, which must come.
    fn next(&self, watch: &mut dyn ShutdownWatch) -> Result<Shutdown, ShutdownError> {
        self.runtime.block_on(async { tokio::time::timeout(SOON, watch.next()).await.expect("a word") })
    }
}

fn inhibitors(stand_in: &StandIn, count: usize) {
    eventually(&format!("{count} inhibitors"), SOON, || match stand_in.inhibitors() {
        all if all.len() == count => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[track_caller]
fn granted(held: &Held, granted: Duration) {
    assert_eq!((held.granted, held.shortened_by.as_ref()), (granted, None));
}

#[test]
fn logind_waits_as_long_as_it_is_asked_to_and_alone_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let conf_dir = dir.path().join("logind.conf.d");
    let mut bus = lab::Bus::start(&dir.path().join("bus")).unwrap();
    let mut stand_in = StandIn::start(&bus, &conf_dir);
    let ear = Ear {
        runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
        logind: Logind::new(Bus::At(bus.address()), &conf_dir),
    };
    let mut watch = ear.listen().unwrap();
    assert_eq!(watch.state(), Shutdown::None);
    // Logind waits for 5 s by itself, and nothing is written that is not needed.
    let secs = Duration::from_secs;
    let first = ear.hold(watch.as_mut(), secs(4));
    granted(&first, secs(5));
    assert!(!conf_dir.exists());
    let second = ear.hold(watch.as_mut(), Duration::from_millis(89_500));
    granted(&second, secs(90));
    drop(first);
    let text = std::fs::read_to_string(conf_dir.join("99-kubelet.conf")).unwrap();
    assert_eq!(text, "# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=90\n");
    assert_eq!(std::fs::read_dir(&conf_dir).unwrap().count(), 1);
    let why = "Kubelet needs time to handle node shutdown";
    inhibitors(&stand_in, 1);
    assert_eq!(stand_in.inhibitors(), [["shutdown", "kubelet", why, "delay"].map(str::to_owned)]);

    // What somebody else says is not even heard: the word after it is logind's.
    stand_in.lie();
    stand_in.stays_up();
    assert_eq!(ear.next(watch.as_mut()), Ok(Shutdown::None));
    stand_in.goes_down();
    assert_eq!(ear.next(watch.as_mut()), Ok(Shutdown::InProgress));
    assert_eq!(ear.listen().unwrap().state(), Shutdown::InProgress, "whoever comes late knows too");
    drop(second);
    inhibitors(&stand_in, 0);
    assert!(ear.runtime.block_on(watch.hold(secs(4))).is_err(), "it goes down already");
    stand_in.stays_up();
    assert_eq!(ear.next(watch.as_mut()), Ok(Shutdown::None));

    // A configuration that another file overrides: it waits less long, and that is told.
    std::fs::remove_file(conf_dir.join("99-kubelet.conf")).unwrap();
    std::fs::create_dir(conf_dir.join("99-kubelet.conf")).unwrap();
    let held = ear.hold(watch.as_mut(), secs(100));
    assert_eq!(held.granted, secs(90));
    let problem = held.shortened_by.as_ref().expect("a reason").to_string();
    assert!(
        problem.starts_with(&format!("cannot write {}/99-kubelet.conf: ", conf_dir.display())),
        "{problem}"
    );
    inhibitors(&stand_in, 1);

    bus.restart().unwrap();
    assert!(ear.next(watch.as_mut()).is_err(), "the end of the bus is heard");
    drop(watch);
    inhibitors(&stand_in, 1);
    drop(held.hold);
    inhibitors(&stand_in, 0);
    let error = ear.listen().err().expect("nobody is there").to_string();
    assert!(error.contains("PreparingForShutdown"), "{error}");
    stand_in.connect();
    assert_eq!(ear.listen().unwrap().state(), Shutdown::None);
}

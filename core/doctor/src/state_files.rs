//! State files that cannot be used.

use core_cm::checkpoint;
use core_events::journal;
use core_images::records;
use core_types::local::SEALED_BEGIN;

use crate::finding::{Finding, FindingKind};
use crate::inventory::{StateFile, StateFileKind};

pub(crate) fn judge(file: &StateFile) -> Option<Finding> {
    let content = &file.content;
    let broken = match file.kind {
        StateFileKind::Checkpoint => checkpoint::decode(content).err().map(|error| error.to_string()),
        StateFileKind::PullIntent => records::decode_intent(content).err().map(|error| error.to_string()),
        StateFileKind::PullRecord => records::decode_record(content).err().map(|error| error.to_string()),
        StateFileKind::Journal => match journal::read([content.as_slice()]).bad_lines {
            0 => None,
            count => Some(format!("{count} of its lines cannot be used")),
        },
        StateFileKind::Sealed => match content.starts_with(SEALED_BEGIN) {
            true => None,
            false => Some("it is no sealed file of this version".to_owned()),
        },
        StateFileKind::SetAside => {
            let why = "the agent could not use this file, set it aside and went on without what it said";
            let advice = "see whether a disk or a program damaged it; delete it when it has been looked at";
            return Some(Finding::told(FindingKind::StateFileSetAside, &file.path, why, advice));
        }
    };
    let advice = "nothing now: the agent sets it aside when it starts, and goes on without what it said";
    broken.map(|why| Finding::told(FindingKind::StateFileBroken, &file.path, &why, advice))
}

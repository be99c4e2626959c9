//! Certificates that are over, or nearly so.

use core_types::WallTime;
use core_types::local::CertificateRenewal;

use crate::finding::{Finding, FindingKind};
use crate::inventory::Certificate;

/// A certificate with less than this part of its life left should have been renewed: the agent does it after 70 to 90 %.
const LAST_PART: u32 = 10;

pub(crate) fn judge(certificate: &Certificate, now: WallTime) -> Option<Finding> {
    let Certificate { purpose, path, renewal, life } = certificate;
    let advice = match renewal {
        CertificateRenewal::Signed => {
            "the agent has it signed anew while the API server answers: see its log for why it was not, or delete the file \
             and start the agent with --bootstrap-kubeconfig"
        }
        CertificateRenewal::AtStart => "start the agent again: it makes a new one",
        CertificateRenewal::ByHand => "put a new one in its place",
    };
    let (begin, end) = match life {
        Ok(life) => *life,
        Err(problem) => {
            let why = format!("the {purpose} cannot be read: {problem}");
            return Some(Finding::told(FindingKind::CertificateBroken, path, &why, advice));
        }
    };
    let ends = end.to_api_secs().0;
    if end <= now {
        let why = format!("the {purpose} ended at {ends}: who checks it refuses it");
        return Some(Finding::told(FindingKind::CertificateExpired, path, &why, advice));
    }
    (end.since(now) < end.since(begin) / LAST_PART).then(|| {
        let why = format!("the {purpose} ends at {ends}, and was not renewed");
        Finding::told(FindingKind::CertificateEnds, path, &why, advice)
    })
}

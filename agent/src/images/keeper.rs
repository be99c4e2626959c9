//! Writes the files about pulls, one after another, so that each file ends as its last change says.
//!
//! The queue is bounded by the pulls that run: each leaves at most one intent, one record and one removal.

use std::collections::VecDeque;
use std::sync::Arc;

use core_images::book::{Found, Listing};
use core_images::records::{
    Decoded, Form, PulledRecord, RecordError, decode_intent, decode_record, encode_intent, encode_record,
    file_name,
};
use core_images::scheduler::PullId;
use futures_util::future::BoxFuture;
use ports::pull_records::{PullContent, PullFile, PullFileKind};
use ports::{FileError, PullRecords};

/// One change on disk.
#[derive(Debug)]
pub(crate) enum Job {
    /// A pull may begin when this is written.
    Intent { pull: PullId, image: String },
    /// A record, and an intent that goes after it.
    Record { record: PulledRecord, intent: Option<String> },
    /// An intent goes.
    RemoveIntent(String),
    /// A record goes.
    RemoveRecord(String),
}

/// A change that was tried.
pub(crate) type Done = (Job, Result<(), FileError>);

/// The queue.
pub(crate) struct Keeper {
    files: Arc<dyn PullRecords>,
    queue: VecDeque<Job>,
    at_work: Option<BoxFuture<'static, Done>>,
}

impl Keeper {
    pub(crate) fn new(files: Arc<dyn PullRecords>) -> Self {
        Self { files, queue: VecDeque::new(), at_work: None }
    }

    pub(crate) fn push(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    /// The next change that is done; never, while there is none to do. Can be dropped and called again.
    pub(crate) async fn next(&mut self) -> Done {
        if self.at_work.is_none() {
            let Some(job) = self.queue.pop_front() else { return std::future::pending().await };
            self.at_work = Some(Box::pin(carry_out(Arc::clone(&self.files), job)));
        }
        let Some(work) = &mut self.at_work else { return std::future::pending().await };
        let done = work.await;
        self.at_work = None;
        done
    }
}

/// Reads what an earlier life left. What cannot be used is set aside, what is old is written anew.
pub(crate) async fn load(files: &dyn PullRecords) -> Found {
    let mut found = Found::default();
    for Decoded { content, form } in read(files, PullFileKind::Intent, decode_intent, &mut found).await {
        if form == Form::Old {
            rewrite(files, PullFileKind::Intent, &file_name(&content), &encode_intent(&content)).await;
        }
        found.intents.push(content);
    }
    for Decoded { content, form } in read(files, PullFileKind::Record, decode_record, &mut found).await {
        if form == Form::Old {
            let name = file_name(&content.image_ref);
            rewrite(files, PullFileKind::Record, &name, &encode_record(&content)).await;
        }
        found.records.push(content);
    }
    found
}

async fn read<T>(
    files: &dyn PullRecords,
    kind: PullFileKind,
    decode: fn(&[u8]) -> Result<Decoded<T>, RecordError>,
    found: &mut Found,
) -> Vec<Decoded<T>> {
    let listed = match files.list(kind).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::error!(%error, "files about pulls cannot be read: images on the node must be proved by a pull");
            found.listing = Listing::Failed;
            return Vec::new();
        }
    };
    let mut decoded = Vec::new();
    for PullFile { name, content } in listed {
        let PullContent::Bytes(content) = content else {
            found.unreadable.insert(name);
            continue;
        };
        match decode(&content) {
            Ok(one) => decoded.push(one),
            Err(error) => {
                let moved = files.set_aside(kind, &name).await;
                let place = moved.map_or_else(|error| error.to_string(), |path| path.display().to_string());
                tracing::error!(
                    %error, place,
                    "a file about a pull cannot be used and is set aside: its image must be proved by a pull"
                );
                found.unreadable.insert(name);
            }
        }
    }
    decoded
}

async fn rewrite(files: &dyn PullRecords, kind: PullFileKind, name: &str, content: &[u8]) {
    if let Err(error) = files.store(kind, name, content).await {
        tracing::warn!(%error, "a file about a pull stays in an old version");
    }
}

async fn carry_out(files: Arc<dyn PullRecords>, job: Job) -> Done {
    use PullFileKind::{Intent, Record};
    let result = match &job {
        Job::Intent { image, .. } => files.store(Intent, &file_name(image), &encode_intent(image)).await,
        Job::Record { record, intent } => {
            let name = file_name(&record.image_ref);
            match (files.store(Record, &name, &encode_record(record)).await, intent) {
                (Ok(()), Some(image)) => files.remove(Intent, &file_name(image)).await,
                (stored, _) => stored,
            }
        }
        Job::RemoveIntent(image) => files.remove(Intent, &file_name(image)).await,
        Job::RemoveRecord(image_ref) => files.remove(Record, &file_name(image_ref)).await,
    };
    (job, result)
}

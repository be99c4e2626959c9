//! What happened, as the one who saw it says it.

use std::borrow::Cow;

use core_types::EventType;

/// One thing that happened to an object: the agent makes an event, a line of its log and a count of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Normal or Warning.
    pub event_type: EventType,
    /// CamelCase reason.
    pub reason: Cow<'static, str>,
    /// Sentence for people.
    pub message: String,
    /// `fieldPath` of the container; empty for the object as a whole.
    pub field_path: String,
    /// What is counted beside the event itself.
    pub tally: Tally,
    /// Annotations of the event.
    pub annotations: Vec<(&'static str, String)>,
}

/// Upstream's metric that counts a happening, beside ours that counts them all (CONTRACT 5.15).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tally {
    /// None.
    #[default]
    Nothing,
    /// `kubelet_admission_rejections_total`, by the event's reason.
    AdmissionRejection,
    /// `kubelet_lifecycle_handler_http_fallbacks_total`.
    HookFallback,
    /// `kubelet_started_pods_errors_total`.
    PodStartError,
    /// `kubelet_evictions`, by the signal or limit.
    Eviction {
        /// Its name.
        signal: String,
    },
    /// `kubelet_preemptions`, by the resource that was missing.
    Preemption {
        /// Its name.
        resource: String,
    },
}

impl Happening {
    /// Something that is as it should be.
    pub fn normal(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            event_type: EventType::Normal,
            reason: reason.into(),
            message: message.into(),
            field_path: String::new(),
            tally: Tally::Nothing,
            annotations: Vec::new(),
        }
    }

    /// Something that needs attention.
    pub fn warning(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { event_type: EventType::Warning, ..Self::normal(reason, message) }
    }

    /// The same of one container.
    #[must_use]
    pub fn of(mut self, field_path: impl Into<String>) -> Self {
        self.field_path = field_path.into();
        self
    }

    /// The same, with figures for programs.
    #[must_use]
    pub fn annotated(mut self, annotations: Vec<(&'static str, String)>) -> Self {
        self.annotations = annotations;
        self
    }

    /// The same, counted in a metric of its own as well.
    #[must_use]
    pub fn counted(mut self, tally: Tally) -> Self {
        self.tally = tally;
        self
    }
}

//! Rules about logs, traces and metrics.

use core_types::Quantity;

use super::Check;
use crate::duration::GoDuration;
use crate::features::Feature;

/// The only version whose hidden metrics can be shown: the minor release before this one.
const PREVIOUS_VERSION: &str = "1.36";

const MAX_VERBOSITY: u32 = i32::MAX as u32;

pub(super) fn check(check: &mut Check<'_>) {
    logging(check);
    log_options(check);
    tracing(check);
    let version = &check.config.show_hidden_metrics_for_version;
    if !matches!(version.as_str(), "" | PREVIOUS_VERSION) {
        check.fail(
            "showHiddenMetricsForVersion",
            format!("{version:?} must be empty or {PREVIOUS_VERSION:?}"),
        );
    }
}

fn logging(check: &mut Check<'_>) {
    let logging = &check.config.logging;
    if logging.flush_frequency <= GoDuration::ZERO {
        check.fail("logging.flushFrequency (--log-flush-frequency)", "must be greater than zero");
    }
    check.one_of("logging.format (--logging-format)", &logging.format, &["text", "json"]);
    if logging.verbosity > MAX_VERBOSITY {
        check
            .fail("logging.verbosity (-v)", format!("{} must be at most {MAX_VERBOSITY}", logging.verbosity));
    }
    if !logging.vmodule.is_empty() && logging.format != "text" {
        check.fail("logging.vmodule (--vmodule)", "works with the format text only");
    }
    for (index, item) in logging.vmodule.iter().enumerate() {
        let field = format!("logging.vmodule[{index}]");
        if item.file_pattern.is_empty() {
            check.fail(field.as_str(), "filePattern must not be empty");
        }
        if item.file_pattern.contains(['=', ',']) {
            check.fail(
                field.as_str(),
                format!("filePattern {:?} must not contain '=' or ','", item.file_pattern),
            );
        }
        if item.verbosity > MAX_VERBOSITY {
            check.fail(field, format!("verbosity {} must be at most {MAX_VERBOSITY}", item.verbosity));
        }
    }
}

fn log_options(check: &mut Check<'_>) {
    if check.on(Feature::LoggingAlphaOptions) {
        return;
    }
    let options = &check.config.logging.options;
    for (format, routing) in [("text", &options.text), ("json", &options.json)] {
        if routing.split_stream {
            let field = format!("logging.options.{format}.splitStream (--log-{format}-split-stream)");
            check.fail(field, "requires feature gate LoggingAlphaOptions");
        }
        if routing.info_buffer_size.quantity() != Quantity::default() {
            let field = format!("logging.options.{format}.infoBufferSize (--log-{format}-info-buffer-size)");
            check.fail(field, "requires feature gate LoggingAlphaOptions");
        }
    }
}

fn tracing(check: &mut Check<'_>) {
    let Some(tracing) = &check.config.tracing else { return };
    if let Some(rate) = tracing.sampling_rate_per_million
        && !(0..=1_000_000).contains(&rate)
    {
        check.fail(
            "tracing.samplingRatePerMillion",
            format!("{rate} must be between 0 and 1000000, inclusive"),
        );
    }
    if let Some((scheme, _)) = tracing.endpoint.as_deref().and_then(|endpoint| endpoint.split_once("//"))
        && !matches!(scheme, "dns:" | "unix:" | "unix-abstract:")
    {
        let message = format!(
            "scheme {:?} is not supported: use dns, unix, unix-abstract or none",
            scheme.trim_end_matches(':')
        );
        check.fail("tracing.endpoint", message);
    }
}

//! The query of `/logs/` (`enableSystemLogQuery`): reading, checking, and the arguments for the journal's reader. Texts are
//! upstream's, for kubectl shows them.

use jiff::Timestamp;

use crate::query::Query;

/// Services of one query.
const MAX_SERVICES: usize = 4;
/// Characters of a service's name.
const MAX_SERVICE_CHARS: usize = 256;
/// Lines from the end of a log.
const MAX_TAIL_LINES: i64 = 100_000;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeLogQuery {
    pub(super) services: Vec<String>,
    pub(super) files: Vec<String>,
    options: LogOptions,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LogOptions {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    tail_lines: Option<i64>,
    boot: Option<i64>,
    pattern: String,
}

impl NodeLogQuery {
    /// Reads a query; the default when nothing of it is there. The error has every problem.
    pub(super) fn parse(query: &Query) -> Result<Self, String> {
        let mut problems = Vec::new();
        let mut found = Self::default();
        for word in query.all("query") {
            if word.contains(['/', '\\']) {
                found.files.push(word.to_owned());
            } else if !word.trim().is_empty() {
                found.services.push(word.to_owned());
            }
        }
        if query.has("query") && found.files.is_empty() && found.services.is_empty() {
            let words: Vec<&str> = query.all("query").collect();
            problems.push(invalid("query", &words, "may not be empty"));
        }
        let mut time = |key| match query.first(key).filter(|text| !text.is_empty()) {
            Some(text) => text.parse::<Timestamp>().map_or_else(
                |_| {
                    problems.push(invalid(key, &text, "invalid time format"));
                    None
                },
                Some,
            ),
            None => None,
        };
        found.options.since = time("sinceTime");
        found.options.until = time("untilTime");
        let mut number = |key| match query.first(key).filter(|text| !text.is_empty()) {
            Some(text) => text.parse::<i64>().map_or_else(
                |_| {
                    let words = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
                    problems.push(invalid(key, &text, &words));
                    None
                },
                Some,
            ),
            None => None,
        };
        found.options.boot = number("boot");
        found.options.tail_lines = number("tailLines");
        found.options.pattern = query.first("pattern").unwrap_or_default().to_owned();
        if problems.is_empty() { Ok(found) } else { Err(together(&problems)) }
    }

    /// Whether the query can be answered. That a file is there is found when it is opened.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut problems: Vec<String> = self.services.iter().filter_map(|name| check_service(name)).collect();
        if self.services.len() > MAX_SERVICES {
            let count = self.services.len();
            problems.push(format!("query: Too many: {count}: must have at most {MAX_SERVICES} items"));
        }
        match (self.files.as_slice(), self.services.as_slice()) {
            ([], []) => problems.push("query: Required value: cannot be empty with options".to_owned()),
            ([_, ..], [_, ..]) => {
                let both = format!("[{}], [{}]", self.files.join(" "), self.services.join(" "));
                problems.push(invalid("query", &both, "cannot specify a file and service"));
            }
            ([_, _, ..], []) => {
                problems.push(invalid("query", &self.files, "cannot specify more than one file"));
            }
            ([_], []) if self.has_options() => {
                problems.push(invalid("query", &self.files, "cannot specify file with options"));
            }
            _ => {}
        }
        problems.extend(self.options.check());
        if problems.is_empty() { Ok(()) } else { Err(together(&problems)) }
    }

    /// The problem of the one file that is not there, in upstream's words.
    pub(super) fn file_problem(&self, problem: &str) -> String {
        invalid("query", &self.files, problem)
    }

    /// Whether only some lines are wanted.
    pub(super) fn has_options(&self) -> bool {
        self.options != LogOptions::default()
    }

    /// Arguments for `journalctl`.
    pub(super) fn journal_arguments(&self, services: &[String]) -> Vec<String> {
        let options = &self.options;
        let mut arguments: Vec<String> =
            ["--utc", "--no-pager", "--output=short-precise"].map(str::to_owned).to_vec();
        let time = |time: Timestamp| time.strftime("%Y-%-m-%-d %-H:%-M:%-S").to_string();
        arguments.extend(options.since.map(|since| format!("--since={}", time(since))));
        arguments.extend(options.until.map(|until| format!("--until={}", time(until))));
        if let Some(lines) = options.tail_lines {
            arguments.extend(["--pager-end".to_owned(), format!("--lines={lines}")]);
        }
        arguments.extend(services.iter().map(|service| format!("--unit={service}")));
        if !options.pattern.is_empty() {
            arguments.push(format!("--grep={}", options.pattern));
        }
        if let Some(boot) = options.boot {
            arguments.extend(["--boot".to_owned(), boot.to_string()]);
        }
        arguments
    }
}

impl LogOptions {
    fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since > until
        {
            problems.push(invalid("untilTime", &until.to_string(), "must be after `sinceTime`"));
        }
        if let Some(boot) = self.boot.filter(|boot| *boot > 0) {
            problems.push(invalid("boot", &boot, "must be less than 1"));
        }
        if let Some(lines) = self.tail_lines.filter(|lines| !(0..=MAX_TAIL_LINES).contains(lines)) {
            let words = format!("must be between 0 and {MAX_TAIL_LINES}, inclusive");
            problems.push(invalid("tailLines", &lines, &words));
        }
        if let Err(error) = regex_syntax::parse(&self.pattern) {
            let words = match error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                other => other.to_string(),
            };
            problems.push(invalid("pattern", &self.pattern, &format!("error parsing regexp: {words}")));
        }
        problems
    }
}

fn check_service(name: &str) -> Option<String> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@');
    if name.len() > MAX_SERVICE_CHARS {
        Some(invalid("query", &name, &format!("length must be less than {MAX_SERVICE_CHARS}")))
    } else if !name.chars().all(is_safe) {
        Some(invalid("query", &name, "input contains unsupported characters"))
    } else {
        None
    }
}

fn invalid(field: &str, value: &(impl serde::Serialize + ?Sized), words: &str) -> String {
    let value = serde_json::to_string(value).unwrap_or_default();
    format!("{field}: Invalid value: {value}: {words}")
}

/// Several problems as Kubernetes puts them together.
fn together(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<NodeLogQuery, String> {
        NodeLogQuery::parse(&Query::parse(Some(query)))
    }

    #[test]
    fn queries_are_checked_with_upstreams_texts() {
        let table = [
            ("query=%20", "query: Invalid value: [\" \"]: may not be empty"),
            ("query=kubelet&sinceTime=x", "sinceTime: Invalid value: \"x\": invalid time format"),
            (
                "query=kubelet&boot=x&tailLines=y",
                "[boot: Invalid value: \"x\": strconv.Atoi: parsing \"x\": invalid syntax, tailLines: Invalid value: \"y\": strconv.Atoi: parsing \"y\": invalid syntax]",
            ),
        ];
        for (query, words) in table {
            assert_eq!(parse(query), Err(words.to_owned()), "{query}");
        }
        let table = [
            ("tailLines=5", "query: Required value: cannot be empty with options"),
            ("query=a&query=/b", "query: Invalid value: \"[/b], [a]\": cannot specify a file and service"),
            ("query=/a&query=/b", "query: Invalid value: [\"/a\",\"/b\"]: cannot specify more than one file"),
            ("query=/a&tailLines=5", "query: Invalid value: [\"/a\"]: cannot specify file with options"),
            ("query=a%20b", "query: Invalid value: \"a b\": input contains unsupported characters"),
            ("query=a&query=b&query=c&query=d&query=e", "query: Too many: 5: must have at most 4 items"),
            ("query=a&boot=1", "boot: Invalid value: 1: must be less than 1"),
            (
                "query=a&tailLines=100001",
                "tailLines: Invalid value: 100001: must be between 0 and 100000, inclusive",
            ),
            (
                "query=a&sinceTime=2026-01-02T00:00:00Z&untilTime=2026-01-01T00:00:00Z",
                "untilTime: Invalid value: \"2026-01-01T00:00:00Z\": must be after `sinceTime`",
            ),
        ];
        for (query, words) in table {
            assert_eq!(parse(query).expect("read").check(), Err(words.to_owned()), "{query}");
        }
        let pattern = parse("query=a&pattern=%28").expect("read").check().expect_err("refused");
        assert!(pattern.starts_with("pattern: Invalid value: \"(\": error parsing regexp: "), "{pattern}");
        let long = format!("query={}", "a".repeat(257));
        assert!(
            parse(&long)
                .expect("read")
                .check()
                .expect_err("refused")
                .ends_with("length must be less than 256")
        );
        assert_eq!(parse("other=1"), Ok(NodeLogQuery::default()));
        for good in ["query=kubelet", "query=/a", "query=kubelet.service&query=foo@1:2&boot=-1&pattern=a%2Bb"]
        {
            assert_eq!(parse(good).expect("read").check(), Ok(()), "{good}");
        }
    }

    #[test]
    fn options_become_arguments_of_the_journals_reader() {
        let query = "query=kubelet&sinceTime=2026-01-02T03:04:05Z&untilTime=2026-11-12T13:14:15Z\
            &tailLines=7&boot=-1&pattern=a%20b";
        let found = parse(query).expect("read");
        assert_eq!(
            found.journal_arguments(&found.services).join("|"),
            "--utc|--no-pager|--output=short-precise|--since=2026-1-2 3:4:5|--until=2026-11-12 13:14:15|\
            --pager-end|--lines=7|--unit=kubelet|--grep=a b|--boot|-1"
        );
    }
}

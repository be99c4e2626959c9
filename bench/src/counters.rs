//! Counters in a page of metrics.

/// The sum of all series of `name`, whatever their labels; 0 when there is none.
pub(crate) fn sum(page: &str, name: &str) -> f64 {
    let of_family = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            // A label's value may hold anything but an unescaped quote, so the last bracket ends the labels.
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    of_family.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_series_of_one_family_are_added_and_no_other() {
        let page = "# HELP a x\na{k=\"}1 \"} 2\na{k=\"y\"} 3 1700000000\na_total 100\na 0.5\nb 7\n";
        assert_eq!((sum(page, "a"), sum(page, "c")), (5.5, 0.0));
    }
}

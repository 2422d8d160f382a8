//! What is measured, as a program says it at a scrape. Units are base units, and stand in the name once it is written.

/// Something that is measured, with a value for each set of labels. No label is ever a peer or a content: there may be any number of
/// those.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name, without unit and `_total`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Its unit, if it has one.
    pub unit: Option<Unit>,
    /// Its values, each with its labels.
    pub values: Vec<(Vec<(&'static str, &'static str)>, Value)>,
}

/// A base unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// What only grows.
    Counter(u64),
    /// The same of time.
    Seconds(f64),
    /// What stands at something.
    Gauge(f64),
    /// How often something took how long: the sum, and how many were at most each bound and above the one before.
    Histogram {
        /// Sum of all.
        sum: f64,
        /// Upper bounds in ascending order, each with its count. The last is infinite.
        buckets: Vec<(f64, u64)>,
    },
}

impl Metric {
    /// One without labels.
    pub fn new(name: &'static str, help: &'static str, unit: Option<Unit>, value: Value) -> Self {
        Metric { name, help, unit, values: vec![(Vec::new(), value)] }
    }

    /// One with a label that tells its values apart.
    pub fn by(
        label: &'static str,
        (name, help, unit): (&'static str, &'static str, Option<Unit>),
        values: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        let values = values.into_iter().map(|(of, value)| (vec![(label, of)], value)).collect();
        Metric { name, help, unit, values }
    }
}

//! Metrics as OpenMetrics text.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry;
use prometheus_client::registry::Registry;

use crate::metric::{Metric, Unit, Value};

/// What is asked at each scrape.
pub(crate) type Collect = Arc<dyn Fn() -> Vec<Metric> + Send + Sync>;

/// Asks a function, and writes what it answers.
struct Asked(Collect);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

impl Collector for Asked {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for metric in (self.0)() {
            let Some((_, first)) = metric.values.first() else { continue };
            let kind = match first {
                Value::Counter(_) | Value::Seconds(_) => MetricType::Counter,
                Value::Gauge(_) => MetricType::Gauge,
                Value::Histogram { .. } => MetricType::Histogram,
            };
            let unit = metric.unit.map(|unit| match unit {
                Unit::Bytes => registry::Unit::Bytes,
                Unit::Seconds => registry::Unit::Seconds,
            });
            let mut family = encoder.encode_descriptor(metric.name, metric.help, unit.as_ref(), kind)?;
            for (labels, value) in &metric.values {
                if labels.is_empty() {
                    encode(&mut family, value)?;
                } else {
                    encode(&mut family.encode_family(labels)?, value)?;
                }
            }
        }
        Ok(())
    }
}

fn encode(encoder: &mut MetricEncoder<'_>, value: &Value) -> Result<(), fmt::Error> {
    match value {
        Value::Counter(count) => encoder.encode_counter::<NoLabelSet, u64, f64>(count, None),
        Value::Seconds(seconds) => encoder.encode_counter::<NoLabelSet, f64, f64>(seconds, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram { sum, buckets } => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}

/// What a scrape gets.
pub(crate) fn encoded(collect: &Collect) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Asked(collect.clone())));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

//! Families of samples, and how they become text.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::error::{Error, ErrorKind, Result};
use crate::metrics::durations::{BOUNDS, Histogram};

/// Numbers up to here are whole as `f64`.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What a family is called and means.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// Without the unit, and without `_total`.
    pub(super) name: &'static str,
    /// The end of the name.
    pub(super) unit: Option<&'static str>,
    pub(super) kind: MetricType,
    pub(super) help: &'static str,
}

pub(super) const fn gauge(name: &'static str, unit: Option<&'static str>, help: &'static str) -> About {
    About {
        name,
        unit,
        kind: MetricType::Gauge,
        help,
    }
}

pub(super) const fn counter(name: &'static str, unit: Option<&'static str>, help: &'static str) -> About {
    About {
        name,
        unit,
        kind: MetricType::Counter,
        help,
    }
}

/// A family with its samples.
#[derive(Debug)]
pub(super) struct Family {
    about: About,
    /// Labels beside the tenant's, each set once; samples give their place.
    sets: Vec<Vec<(&'static str, String)>>,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    tenant: Whose,
    set: Option<u32>,
    value: Value,
}

/// Whose sample it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// Of the tenant at this place.
    Tenant(u32),
    /// Of several tenants or none: the tenant's labels are there, and empty.
    Nobody,
    /// Of the database or the exporter: there are no such labels.
    NoLabels,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Number(f64),
    /// The place of a histogram.
    Histogram(u32),
}

impl Family {
    pub(super) fn new(about: About) -> Self {
        Self {
            about,
            sets: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Makes room for so many samples.
    pub(super) fn reserve(&mut self, samples: usize) {
        self.samples.reserve_exact(samples);
    }

    /// Adds a sample where there is a figure.
    pub(super) fn add(&mut self, tenant: Whose, labels: &[(&'static str, &str)], value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.push(tenant, labels, Value::Number(value));
        }
    }

    pub(super) fn push(&mut self, tenant: Whose, labels: &[(&'static str, &str)], value: Value) {
        let set = (!labels.is_empty()).then(|| self.set(labels));
        self.samples.push(Sample { tenant, set, value });
    }

    /// The place of a set of labels; there are few in a family, and the same ones again and again.
    fn set(&mut self, labels: &[(&'static str, &str)]) -> u32 {
        let same = |set: &Vec<(&str, String)>| {
            set.iter()
                .map(|(key, value)| (*key, value.as_str()))
                .eq(labels.iter().copied())
        };
        let at = self.sets.iter().position(same).unwrap_or_else(|| {
            self.sets
                .push(labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect());
            self.sets.len() - 1
        });
        at as u32
    }
}

/// Families of samples.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Ids and schemas.
    pub(super) tenants: Vec<(String, String)>,
    pub(super) families: Vec<Family>,
    pub(super) histograms: Vec<Histogram>,
}

impl Page {
    /// Writes it as OpenMetrics, with the final `# EOF` if it is the end.
    pub(super) fn encode(self, to: &mut impl fmt::Write, end: bool) -> Result<()> {
        let failed = |e: fmt::Error| Error::new(ErrorKind::Unknown, "cannot write the metrics").with_cause(e);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        text::encode_registry(to, &registry).map_err(failed)?;
        if end {
            text::encode_eof(to).map_err(failed)?;
        }
        Ok(())
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A family without samples says nothing.
        for family in self.families.iter().filter(|family| !family.samples.is_empty()) {
            let About { name, unit, kind, help } = family.about;
            let unit = unit.map(|unit| Unit::Other(unit.to_owned()));
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for sample in &family.samples {
                let labels = Labels {
                    page: self,
                    family,
                    sample,
                };
                let mut metric = if sample.tenant == Whose::NoLabels && sample.set.is_none() {
                    // Without even a pair of braces.
                    value_of(&mut metric, sample.value, kind)?;
                    continue;
                } else {
                    metric.encode_family(&labels)?
                };
                match sample.value {
                    Value::Histogram(at) => {
                        let Some(histogram) = self.histograms.get(at as usize) else {
                            continue;
                        };
                        let buckets: Vec<(f64, u64)> = BOUNDS
                            .iter()
                            .copied()
                            .chain([f64::INFINITY])
                            .zip(histogram.buckets.iter().copied())
                            .collect();
                        metric.encode_histogram::<NoLabelSet>(histogram.sum, histogram.count(), &buckets, None)?;
                    }
                    value => value_of(&mut metric, value, kind)?,
                }
            }
        }
        Ok(())
    }
}

fn value_of(metric: &mut MetricEncoder<'_>, value: Value, kind: MetricType) -> fmt::Result {
    let Value::Number(value) = value else {
        return Ok(());
    };
    let is_whole = value.fract() == 0.0 && value.abs() < WHOLE_MAX;
    match kind {
        MetricType::Counter if is_whole => metric.encode_counter::<NoLabelSet, u64, f64>(&(value as u64), None),
        MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        _ if is_whole => metric.encode_gauge(&(value as i64)),
        _ => metric.encode_gauge(&value),
    }
}

/// The labels of a sample.
struct Labels<'a> {
    page: &'a Page,
    family: &'a Family,
    sample: &'a Sample,
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let whose = match self.sample.tenant {
            Whose::Tenant(at) => self
                .page
                .tenants
                .get(at as usize)
                .map(|(id, schema)| (id.as_str(), schema.as_str())),
            Whose::Nobody => Some(("", "")),
            Whose::NoLabels => None,
        };
        if let Some((id, schema)) = whose {
            ("tenant_id", id).encode(encoder.encode_label())?;
            ("schema_name", schema).encode(encoder.encode_label())?;
        }
        let set = self.sample.set.and_then(|at| self.family.sets.get(at as usize));
        for (key, value) in set.into_iter().flatten() {
            (*key, value.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

//! Writes a family of samples: the two formats differ in where a counter has its `_total`.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::Exposition;

pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

pub(super) struct Writer<'a, 'b> {
    encoder: &'b mut DescriptorEncoder<'a>,
    format: Exposition,
}

impl<'a, 'b> Writer<'a, 'b> {
    pub const fn new(encoder: &'b mut DescriptorEncoder<'a>, format: Exposition) -> Self {
        Self { encoder, format }
    }

    /// `name` is without `_total`.
    pub fn counter<'l, N: EncodeCounterValue + EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, N)>,
    ) -> fmt::Result {
        match self.format {
            Exposition::OpenMetrics => {
                let family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                each(family, samples, |mut metric, value| {
                    metric.encode_counter::<NoLabelSet, N, f64>(value, None)
                })
            }
            Exposition::Text => {
                let name = format!("{name}_total");
                let family = self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
                // What is written for a gauge is the value without a suffix to its name.
                each(family, samples, |mut metric, value| metric.encode_gauge(value))
            }
        }
    }

    pub fn gauge<'l, N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, N)>,
    ) -> fmt::Result {
        let family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        each(family, samples, |mut metric, value| metric.encode_gauge(value))
    }
}

fn each<'l, N>(
    mut family: MetricEncoder<'_>,
    samples: impl IntoIterator<Item = (Labels<'l>, N)>,
    encode: impl Fn(MetricEncoder<'_>, &N) -> fmt::Result,
) -> fmt::Result {
    for (labels, value) in samples {
        if labels.is_empty() {
            // A family of this one sample: an empty set would be written as `{}`.
            return encode(family, &value);
        }
        encode(family.encode_family(&labels)?, &value)?;
    }
    Ok(())
}

//! The schemas of configuration and rule files.

use jiff::Timestamp;
use serde_json::Value;

use super::file::file;
use super::read::kind::Kind;
use super::read::schema::Schema;
use super::rules;

pub fn config() -> Value {
    document("kubeherald configuration", &file(Timestamp::MIN))
}

pub fn rules() -> Value {
    document("kubeherald rules", &rules::rules())
}

fn document<'a, T: 'a>(title: &str, file: &Kind<'a, T>) -> Value {
    let mut schema = Schema::default();
    let root = file.schema(&mut schema);
    schema.document(title, root)
}

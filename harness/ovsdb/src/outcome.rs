//! What a transaction did.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use crate::codec;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::schema::DatabaseSchema;
use crate::transaction::NamedUuid;

/// The results of a committed transaction, by index of operation.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    inserted: BTreeMap<NamedUuid, Uuid>,
    rows: BTreeMap<usize, Vec<(Uuid, Row)>>,
    counts: BTreeMap<usize, u64>,
}

impl Outcome {
    /// What an inserted row is really called.
    pub fn uuid(&self, name: &NamedUuid) -> Option<Uuid> {
        self.inserted.get(name).copied()
    }

    /// All inserted rows.
    pub fn inserted(&self) -> impl Iterator<Item = Uuid> {
        self.inserted.values().copied()
    }

    /// The rows that a select read. The uuid is nil unless all columns or `_uuid` were asked for.
    pub fn rows(&self, index: usize) -> &[(Uuid, Row)] {
        self.rows.get(&index).map_or(&[], Vec::as_slice)
    }

    /// How many rows an update, mutate or delete touched.
    pub fn count(&self, index: usize) -> u64 {
        self.counts.get(&index).copied().unwrap_or(0)
    }

    pub(crate) fn decode(
        schema: &DatabaseSchema,
        expected: &[(Option<String>, Option<NamedUuid>)],
        answer: &Value,
    ) -> Result<Outcome> {
        let results = answer
            .as_array()
            .ok_or_else(|| Error::Protocol(format!("transact answered {answer}")))?;
        for (index, result) in results.iter().enumerate() {
            if let Some(error) = refusal(index, result, expected) {
                return Err(error);
            }
        }
        let mut outcome = Outcome::default();
        for (index, ((table, name), result)) in expected.iter().zip(results).enumerate() {
            if let Some(name) = name {
                outcome
                    .inserted
                    .insert(name.clone(), uuid_of(&result["uuid"])?);
            }
            if let Some(count) = result["count"].as_u64() {
                outcome.counts.insert(index, count);
            }
            if let (Some(rows), Some(table)) = (result["rows"].as_array(), table) {
                let table = schema.table(table)?;
                let rows = rows
                    .iter()
                    .map(|row| {
                        let uuid = match &row["_uuid"] {
                            Value::Null => Uuid::nil(),
                            uuid => uuid_of(uuid)?,
                        };
                        Ok((uuid, codec::decode_row(table, row)?))
                    })
                    .collect::<Result<_>>()?;
                outcome.rows.insert(index, rows);
            }
        }
        Ok(outcome)
    }
}

/// An error object stands at the place of the operation that failed; one past the last operation
/// means that the commit itself failed.
fn refusal(
    index: usize,
    result: &Value,
    expected: &[(Option<String>, Option<NamedUuid>)],
) -> Option<Error> {
    let error = result["error"].as_str()?.to_owned();
    let details = result["details"].as_str().map(str::to_owned);
    Some(match expected.get(index) {
        Some((table, _)) => Error::Refused {
            index,
            table: table.clone().unwrap_or_default(),
            error,
            details,
        },
        None => Error::Commit { error, details },
    })
}

fn uuid_of(json: &Value) -> Result<Uuid> {
    json[1]
        .as_str()
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| Error::Protocol(format!("{json} is not a uuid")))
}

//! Empty OVSDB database files, written directly: three processes fewer per node than `ovsdb-tool create`.
//!
//! The format is a log of records, the first of which is the schema (ovsdb(5)): a line
//! `OVSDB JSON <length> <SHA-1>` and that many bytes of JSON ending in a newline.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::{Error, Result};

/// Where the distribution's packages put the schemas, and the file names of the databases.
const SCHEMAS: [(&str, &str); 3] = [
    ("/usr/share/ovn/ovn-nb.ovsschema", "nb.db"),
    ("/usr/share/ovn/ovn-sb.ovsschema", "sb.db"),
    ("/usr/share/openvswitch/vswitch.ovsschema", "conf.db"),
];

/// The three databases of a node, empty.
#[derive(Debug)]
pub(crate) struct Templates(Vec<(&'static str, Vec<u8>)>);

impl Templates {
    pub(crate) fn load() -> Result<Self> {
        let read = |(schema, file): &(&str, &'static str)| {
            let failed = |reason: String| Error::Schema {
                path: PathBuf::from(schema),
                reason,
            };
            let text = fs::read_to_string(schema).map_err(|e| failed(e.to_string()))?;
            let record = record(&text).map_err(|e| failed(e.to_string()))?;
            Ok((*file, record))
        };
        SCHEMAS.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Writes them into a directory and returns the files.
    pub(crate) fn write(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        self.0
            .iter()
            .map(|(name, bytes)| {
                let file = dir.join(name);
                let action = || Error::io(format!("write {}", file.display()));
                fs::write(&file, bytes).map_err(action())?;
                Ok(file)
            })
            .collect()
    }
}

/// A log of one record.
fn record(json: &str) -> Result<Vec<u8>, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_str(json)?;
    let mut body = serde_json::to_vec(&value)?;
    body.push(b'\n');
    let mut digest = String::with_capacity(40);
    for byte in Sha1::digest(&body) {
        // Writing to a String cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    let mut record = format!("OVSDB JSON {} {digest}\n", body.len()).into_bytes();
    record.append(&mut body);
    Ok(record)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_record_names_length_and_digest_of_its_body() {
        let record = super::record("{\"name\":  \"x\"}").unwrap();
        // printf '{"name":"x"}\n' | sha1sum
        let expected = "OVSDB JSON 13 a72d5e14983cb834bd74e4fa05c079a890bf1837\n{\"name\":\"x\"}\n";
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }
}

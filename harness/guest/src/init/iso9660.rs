//! Files of an ISO 9660 image's root directory, with the names that Rock Ridge or Joliet give
//! them. Enough for a NoCloud disk, and without a mount or a kernel module.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

const SECTOR: u64 = 2_048;
/// What a NoCloud disk holds is read into memory; more than this is not that.
const LARGEST_FILE: u32 = 16 << 20;

/// An image's label and the files of its root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub label: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Extent {
    sector: u32,
    length: u32,
}

struct Root {
    extent: Extent,
    joliet: bool,
}

fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at + N)?.try_into().ok()
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    bytes(data, at).map(u32::from_le_bytes)
}

fn read_at(disk: &mut (impl Read + Seek), offset: u64, length: u32) -> io::Result<Vec<u8>> {
    disk.seek(SeekFrom::Start(offset))?;
    let mut data = vec![0; usize::try_from(length).unwrap_or_default()];
    disk.read_exact(&mut data)?;
    Ok(data)
}

/// The volume's label alone, as `blkid` shows it; `None` when this is no such image.
pub fn label(disk: &mut (impl Read + Seek)) -> Option<String> {
    let sector = read_at(disk, 16 * SECTOR, 2_048).ok()?;
    primary_label(&sector)
}

fn primary_label(sector: &[u8]) -> Option<String> {
    if sector.get(..6)? != b"\x01CD001" {
        return None;
    }
    let label = String::from_utf8_lossy(sector.get(40..72)?);
    Some(label.trim_end_matches([' ', '\0']).to_owned())
}

/// Reads the whole of it; `None` when this is no such image.
pub fn read(disk: &mut (impl Read + Seek)) -> io::Result<Option<Volume>> {
    let mut label = None;
    let mut root: Option<Root> = None;
    for number in 16..32 {
        let Ok(sector) = read_at(disk, number * SECTOR, 2_048) else {
            break;
        };
        if sector[1..6] != *b"CD001" || sector[0] == 255 {
            break;
        }
        if sector[0] == 1 {
            label = primary_label(&sector);
        }
        let joliet = sector[0] == 2 && sector[88..90] == *b"%/";
        if (sector[0] == 1 && root.is_none()) || joliet {
            root = record_extent(&sector[156..190]).map(|extent| Root { extent, joliet });
        }
    }
    let (Some(label), Some(root)) = (label, root) else {
        return Ok(None);
    };
    let directory = read_extent(disk, &root.extent)?;
    let mut files = BTreeMap::new();
    for (name, extent) in entries(&directory, root.joliet) {
        files.insert(name, read_extent(disk, &extent)?);
    }
    Ok(Some(Volume { label, files }))
}

fn read_extent(disk: &mut (impl Read + Seek), extent: &Extent) -> io::Result<Vec<u8>> {
    if extent.length > LARGEST_FILE {
        return Err(io::Error::other(format!(
            "a file of {} bytes is too large for a NoCloud disk",
            extent.length
        )));
    }
    read_at(disk, u64::from(extent.sector) * SECTOR, extent.length)
}

fn record_extent(record: &[u8]) -> Option<Extent> {
    Some(Extent {
        sector: u32_at(record, 2)?,
        length: u32_at(record, 10)?,
    })
}

/// The files of a directory. Records do not cross sectors; a zero length fills the rest of one.
fn entries(directory: &[u8], joliet: bool) -> Vec<(String, Extent)> {
    let mut found = Vec::new();
    for sector in directory.chunks(2_048) {
        let mut rest = sector;
        while let Some(length) = rest.first().map(|length| usize::from(*length)) {
            let Some(record) = rest.get(..length).filter(|record| record.len() >= 34) else {
                break;
            };
            found.extend(entry(record, joliet));
            rest = &rest[length..];
        }
    }
    found
}

fn entry(record: &[u8], joliet: bool) -> Option<(String, Extent)> {
    const DIRECTORY: u8 = 2;
    if record[25] & DIRECTORY != 0 {
        return None;
    }
    let length = usize::from(record[32]);
    let raw = record.get(33..33 + length)?;
    let name = if joliet {
        let units: Vec<u16> = raw
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    } else {
        let padded = 33 + length + usize::from(length.is_multiple_of(2));
        rock_ridge_name(record.get(padded..).unwrap_or_default())
            .unwrap_or_else(|| String::from_utf8_lossy(raw).to_lowercase())
    };
    // A version may follow.
    let name = name.split(';').next().unwrap_or_default().to_owned();
    Some((name, record_extent(record)?))
}

fn rock_ridge_name(mut fields: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while fields.len() >= 4 {
        let length = usize::from(fields[2]);
        let field = fields.get(..length).filter(|field| field.len() >= 4)?;
        if field.starts_with(b"NM") {
            name.extend_from_slice(field.get(5..)?);
        }
        fields = &fields[length..];
    }
    (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn record(name: &[u8], sector: u32, length: u32, flags: u8, extra: &[u8]) -> Vec<u8> {
        let mut record = vec![0; 33];
        record[2..6].copy_from_slice(&sector.to_le_bytes());
        record[10..14].copy_from_slice(&length.to_le_bytes());
        record[25] = flags;
        record[32] = u8::try_from(name.len()).unwrap();
        record.extend_from_slice(name);
        if name.len().is_multiple_of(2) {
            record.push(0);
        }
        record.extend_from_slice(extra);
        if record.len() % 2 == 1 {
            record.push(0);
        }
        record[0] = u8::try_from(record.len()).unwrap();
        record
    }

    fn image(records: &[Vec<u8>], content: &[u8], joliet: bool) -> Vec<u8> {
        let mut image = vec![0u8; 24 * 2_048];
        let root = record(&[0], 20, 2_048, 2, &[]);
        image[16 * 2_048..][..6].copy_from_slice(b"\x01CD001");
        image[16 * 2_048 + 40..][..32].fill(b' ');
        image[16 * 2_048 + 40..][..6].copy_from_slice(b"cidata");
        image[16 * 2_048 + 156..][..34].copy_from_slice(&root[..34]);
        if joliet {
            image[17 * 2_048..][..6].copy_from_slice(b"\x02CD001");
            image[17 * 2_048 + 88..][..3].copy_from_slice(b"%/E");
            image[17 * 2_048 + 156..][..34].copy_from_slice(&root[..34]);
        } else {
            image[17 * 2_048..][..6].copy_from_slice(b"\xffCD001");
        }
        let directory: Vec<u8> = records.concat();
        image[20 * 2_048..][..directory.len()].copy_from_slice(&directory);
        image[21 * 2_048..][..content.len()].copy_from_slice(content);
        image
    }

    #[test]
    fn rock_ridge_names() {
        let mut field = b"RR\x05\x01\x81NM\x0e\x01\x00".to_vec();
        field.extend_from_slice(b"user-data");
        let records = [
            record(&[0], 20, 2_048, 2, &[]),
            record(b"USER_DAT.;1", 21, 5, 0, &field),
        ];
        let volume = read(&mut Cursor::new(image(&records, b"hello", false)))
            .unwrap()
            .unwrap();
        assert_eq!(volume.label, "cidata");
        assert_eq!(volume.files["user-data"], b"hello");
        assert_eq!(volume.files.len(), 1);
    }

    #[test]
    fn joliet_names() {
        let name: Vec<u8> = "meta-data;1"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        let records = [record(&name, 21, 2, 0, &[])];
        let volume = read(&mut Cursor::new(image(&records, b"{}", true)))
            .unwrap()
            .unwrap();
        assert_eq!(volume.files["meta-data"], b"{}");
    }

    #[test]
    fn what_is_no_image() {
        assert_eq!(read(&mut Cursor::new(vec![0; 64])).unwrap(), None);
        assert_eq!(read(&mut Cursor::new(vec![7; 80_000])).unwrap(), None);
        assert_eq!(label(&mut Cursor::new(vec![0; 80_000])), None);
    }

    #[test]
    fn an_image_that_points_beyond_its_end() {
        let records = [record(b"A;1", 4_000_000, 5, 0, &[])];
        read(&mut Cursor::new(image(&records, b"", false))).unwrap_err();
        let records = [record(b"A;1", 21, u32::MAX, 0, &[])];
        let error = read(&mut Cursor::new(image(&records, b"", false))).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[test]
    fn records_cut_short() {
        let mut cut = record(b"A;1", 21, 5, 0, &[]);
        cut[0] = 20;
        let volume = read(&mut Cursor::new(image(&[cut], b"", false))).unwrap();
        assert!(volume.unwrap().files.is_empty());
    }
}

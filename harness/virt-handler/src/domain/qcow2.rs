//! A disk image that holds changes only.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// What one entry of the first-level table stands for: a cluster full of 8-byte entries, each of a cluster.
const PER_ENTRY: u64 = CLUSTER / 8 * CLUSTER;

/// Writes an empty image of a disk of this size. What it is based on is said where it is opened.
///
/// The clusters, in order: header, table of reference counts, reference counts, first-level table.
pub fn create(path: &Path, size: u64) -> io::Result<()> {
    let entries = size.div_ceil(PER_ENTRY);
    let table_clusters = (entries * 8).div_ceil(CLUSTER).max(1);
    let clusters = 3 + table_clusters;
    if clusters > CLUSTER / 2 {
        return Err(io::Error::other("the disk is too big for an overlay"));
    }
    let mut header = Vec::new();
    header.extend(b"QFI\xfb");
    header.extend(3_u32.to_be_bytes());
    header.extend([0; 8 + 4]); // no name of a backing file
    header.extend(CLUSTER_BITS.to_be_bytes());
    header.extend(size.to_be_bytes());
    header.extend([0; 4]); // no encryption
    header.extend(u32::try_from(entries).unwrap_or(u32::MAX).to_be_bytes());
    header.extend((3 * CLUSTER).to_be_bytes());
    header.extend(CLUSTER.to_be_bytes());
    header.extend(1_u32.to_be_bytes()); // clusters of the table of reference counts
    header.extend([0; 4 + 8]); // no snapshots
    header.extend([0; 3 * 8]); // no features
    header.extend(4_u32.to_be_bytes()); // reference counts of 16 bits
    header.extend(104_u32.to_be_bytes()); // length of the header
    header.extend([0; 8]); // no extensions

    let mut file = File::create(path)?;
    file.write_all(&header)?;
    write_at(&file, CLUSTER, &(2 * CLUSTER).to_be_bytes())?;
    let counts: Vec<u8> = (0..clusters).flat_map(|_| 1_u16.to_be_bytes()).collect();
    write_at(&file, 2 * CLUSTER, &counts)?;
    file.set_len(clusters * CLUSTER)
}

fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::create;

    #[test]
    fn the_header_says_what_it_must() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.qcow2");
        create(&path, 10 << 30).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 4 << 16);
        assert_eq!(&bytes[..8], b"QFI\xfb\0\0\0\x03");
        assert_eq!(bytes[24..32], (10_u64 << 30).to_be_bytes());
        // 20 entries of 512 MiB
        assert_eq!(bytes[36..40], 20_u32.to_be_bytes());
        assert_eq!(bytes[100..104], 104_u32.to_be_bytes());
        assert_eq!(
            bytes[(2 << 16)..(2 << 16) + 10],
            [0, 1, 0, 1, 0, 1, 0, 1, 0, 0]
        );
    }
}

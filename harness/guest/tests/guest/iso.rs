//! A disk labelled `cidata`, as small as one can be.

const SECTOR: usize = 2_048;
const DIRECTORY: u32 = 18;

fn record(name: &str, extent: u32, length: usize, flags: u8) -> Vec<u8> {
    let mut record = vec![0; 33];
    record[2..6].copy_from_slice(&extent.to_le_bytes());
    record[10..14].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    record[25] = flags;
    record[32] = 2;
    // The name that counts is in the field after it.
    record.extend_from_slice(b"X;\0");
    if !name.is_empty() {
        record.extend_from_slice(b"NM");
        record.extend_from_slice(&[u8::try_from(5 + name.len()).unwrap(), 1, 0]);
        record.extend_from_slice(name.as_bytes());
    }
    if record.len() % 2 == 1 {
        record.push(0);
    }
    record[0] = u8::try_from(record.len()).unwrap();
    record
}

/// An image with these files.
pub fn image(files: &[(&str, &str)]) -> Vec<u8> {
    let mut directory = Vec::new();
    let mut contents = Vec::new();
    for (name, content) in files {
        let extent = DIRECTORY + 1 + u32::try_from(contents.len() / SECTOR).unwrap();
        directory.extend(record(name, extent, content.len(), 0));
        contents.extend_from_slice(content.as_bytes());
        contents.resize(contents.len().next_multiple_of(SECTOR), 0);
    }
    let mut image = vec![0; 16 * SECTOR];
    let mut descriptor = b"\x01CD001\x01\x00".to_vec();
    descriptor.resize(40, b' ');
    descriptor.extend_from_slice(format!("{:32}", "cidata").as_bytes());
    descriptor.resize(156, 0);
    descriptor.extend(&record("", DIRECTORY, SECTOR, 2)[..34]);
    descriptor.resize(SECTOR, 0);
    image.extend(descriptor);
    let mut end = b"\xffCD001\x01".to_vec();
    end.resize(SECTOR, 0);
    image.extend(end);
    directory.resize(SECTOR, 0);
    image.extend(directory);
    image.extend(contents);
    image
}

//! The kernel inside a bzImage.
//!
//! QEMU starts an uncompressed kernel that knows PVH directly. That spares the guest from unpacking itself, which
//! takes half a second where its instructions are translated, and every machine some memory.

use std::io::Read;

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const ELF: [u8; 4] = *b"\x7fELF";
/// The note that says where a PVH kernel begins: type 18 of the name `Xen`.
const PVH_NOTE: [u8; 16] = *b"\x04\0\0\0\x08\0\0\0\x12\0\0\0Xen\0";

/// The kernel as an ELF file, when there is one inside that starts without a boot loader.
pub fn uncompressed(image: &[u8]) -> Option<Vec<u8>> {
    let at = image
        .windows(ZSTD.len())
        .position(|window| window == ZSTD)?;
    let mut kernel = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(&image[at..])
        .ok()?
        .single_frame();
    decoder.read_to_end(&mut kernel).ok()?;
    let starts = kernel.starts_with(&ELF)
        && kernel
            .windows(PVH_NOTE.len())
            .any(|window| window == PVH_NOTE);
    starts.then_some(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_found_and_anything_else_is_not() {
        let mut kernel = ELF.to_vec();
        kernel.extend([7; 1000]);
        let wrapped = |kernel: &[u8]| {
            let mut image = vec![0x90; 300];
            image.extend(zstd::stream::encode_all(kernel, 1).unwrap());
            image.extend([1, 2, 3]);
            image
        };
        assert_eq!(uncompressed(&wrapped(&kernel)), None, "it knows no PVH");
        kernel.extend(PVH_NOTE);
        assert_eq!(uncompressed(&wrapped(&kernel)), Some(kernel));
        assert_eq!(uncompressed(&[0; 100]), None);
    }
}

//! The words of the kernel's command line that concern the guest's init.

use trunkline_guest::init::TEMPLATE;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Wait to be told which machine this is.
    pub template: bool,
    pub root: String,
    pub root_type: Option<String>,
}

impl CommandLine {
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self {
            template: false,
            root: "/dev/vda".to_owned(),
            root_type: None,
        };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                None if word == TEMPLATE => parsed.template = true,
                Some(("root", device)) if device.starts_with("/dev/") => {
                    device.clone_into(&mut parsed.root);
                }
                Some(("rootfstype", name)) if !name.is_empty() => {
                    parsed.root_type = Some(name.to_owned());
                }
                _ => {}
            }
        }
        parsed
    }
}

/// Tells a file system by what stands at its beginning.
pub fn file_system(start: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, magic: &[u8]| {
        start
            .get(offset..offset + magic.len())
            .is_some_and(|found| found == magic)
    };
    if at(0, b"hsqs") {
        Some("squashfs")
    } else if at(1_024, &[0xe2, 0xe1, 0xf5, 0xe0]) {
        Some("erofs")
    } else if at(1_080, &[0x53, 0xef]) {
        Some("ext4")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_matter() {
        let plain = CommandLine::parse("console=ttyS0 quiet panic=1\n");
        assert_eq!(
            plain,
            CommandLine {
                template: false,
                root: "/dev/vda".to_owned(),
                root_type: None
            }
        );
        let all = CommandLine::parse("root=/dev/vdb rootfstype=erofs trunkline.template");
        assert_eq!(
            all,
            CommandLine {
                template: true,
                root: "/dev/vdb".to_owned(),
                root_type: Some("erofs".to_owned())
            }
        );
    }

    #[test]
    fn words_that_only_look_like_it() {
        let odd = CommandLine::parse(
            "trunkline.templates trunkline.template=0 root=LABEL=x rootfstype= xroot=/dev/vdc",
        );
        assert_eq!(odd, CommandLine::parse(""));
    }

    #[test]
    fn file_systems_by_magic() {
        let mut start = vec![0; 2_048];
        assert_eq!(file_system(&start), None);
        start[1_080..1_082].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(file_system(&start), Some("ext4"));
        start[1_024..1_028].copy_from_slice(&0xE0F5_E1E2u32.to_le_bytes());
        assert_eq!(file_system(&start), Some("erofs"));
        start[..4].copy_from_slice(b"hsqs");
        assert_eq!(file_system(&start), Some("squashfs"));
        assert_eq!(file_system(b"hsq"), None);
    }
}

//! The few system calls that no safe interface offers.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn check_len(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[allow(clippy::cast_possible_truncation)]
const fn len_of<T>() -> libc::socklen_t {
    mem::size_of::<T>() as libc::socklen_t
}

/// Makes a terminal the controlling one of this session, also when it still is another's.
pub fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain system call without memory.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 1) })
}

/// A program that gets all signals: process 1 holds some of them back, and would pass that on.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    // SAFETY: between fork and exec only two functions run, and they may run there; the set is on
    // the stack and filled in before it is used.
    unsafe {
        command.pre_exec(|| {
            let mut none = mem::MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(none.as_mut_ptr());
            check(libc::sigprocmask(
                libc::SIG_SETMASK,
                none.as_ptr(),
                std::ptr::null_mut(),
            ))
        })
    };
    command
}

/// Feeds the kernel's random number generator and makes it use what it was fed at once: two
/// machines restored from one template would otherwise go on with the same numbers.
pub fn add_entropy(random: BorrowedFd<'_>, seed: &[u8; 64]) -> io::Result<()> {
    #[repr(C)]
    struct Pool {
        bits: libc::c_int,
        bytes: libc::c_int,
        data: [u8; 64],
    }
    const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
    const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
    let pool = Pool {
        bits: 512,
        bytes: 64,
        data: *seed,
    };
    // SAFETY: the request reads the header and as many bytes as it says, all of them in `pool`.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY as _, &raw const pool) })?;
    // SAFETY: plain system call without memory.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG as _) })
}

fn instruction(code: u32, jump_true: u8, jump_false: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: jump_true,
        jf: jump_false,
        k: value,
    }
}

/// IPv4 packets of one interface from the first fragment of UDP datagrams to port 68, with the
/// link's header left off. Nothing else wakes the reader.
pub fn dhcp_socket(index: u32) -> io::Result<OwnedFd> {
    let protocol = u16::try_from(libc::ETH_P_IP).unwrap_or_default().to_be();
    // SAFETY: plain system call; the descriptor it returns is owned from here on. Without a
    // protocol nothing arrives until the filter is there.
    let socket = unsafe {
        let fd = libc::socket(
            libc::AF_PACKET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            0,
        );
        check(fd)?;
        OwnedFd::from_raw_fd(fd)
    };
    let (load_byte, load_half) = (
        libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
        libc::BPF_LD | libc::BPF_H | libc::BPF_ABS,
    );
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let mut filter = [
        instruction(load_byte, 0, 0, 9),
        instruction(equal, 0, 6, 17),
        instruction(load_half, 0, 0, 6),
        instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 4, 0, 0x1fff),
        instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
        instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, 2),
        instruction(equal, 0, 1, 68),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0xffff),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap_or_default(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its instructions are alive, and its length is theirs.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            len_of::<libc::sock_fprog>(),
        )
    })?;
    let address = link_address(index, protocol, [0; 6]);
    // SAFETY: a live address of the stated length.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            len_of::<libc::sockaddr_ll>(),
        )
    })?;
    Ok(socket)
}

fn link_address(index: u32, protocol: u16, hardware: [u8; 6]) -> libc::sockaddr_ll {
    let mut address = [0u8; 8];
    address[..6].copy_from_slice(&hardware);
    libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: protocol,
        sll_ifindex: i32::try_from(index).unwrap_or_default(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: address,
    }
}

/// Sends an IPv4 packet to everybody on the link.
pub fn broadcast(socket: BorrowedFd<'_>, index: u32, packet: &[u8]) -> io::Result<()> {
    let protocol = u16::try_from(libc::ETH_P_IP).unwrap_or_default().to_be();
    let address = link_address(index, protocol, [0xff; 6]);
    // SAFETY: live memory of the stated lengths.
    check_len(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const address).cast(),
            len_of::<libc::sockaddr_ll>(),
        )
    })
    .map(drop)
}

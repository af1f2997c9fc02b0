//! The guest's init at work, without a machine around it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod guest;

use guest::{Guest, LEASE, Seed, hindrance};

macro_rules! guest {
    ($seed:expr) => {
        match hindrance() {
            None => Guest::boot(&$seed),
            Some(reason) => {
                println!("skipped: {reason}");
                return;
            }
        }
    };
}

const USER_DATA: &str = r#"#cloud-config
chpasswd:
  expire: false
  users:
  - {name: fedora, password: turtle, type: text}
  - {name: root, password: toor, type: text}
users:
- default
- {name: bob, groups: users, plain_text_passwd: builder, lock_passwd: false, shell: /bin/sh, ssh_authorized_keys: [ssh-ed25519 AAAA bob]}
write_files:
- {path: /etc/made/here, content: aGVsbG8K, encoding: b64, permissions: '0640', owner: 'root:users'}
- path: /etc/systemd/system/napper.service
  content: |
    [Unit]
    Description=It sleeps
    [Service]
    ExecStart=/bin/sleep 1000
    [Install]
    WantedBy=multi-user.target
- path: /etc/systemd/system/broken.service
  content: |
    [Service]
    Type=oneshot
    ExecStart=/bin/sh -c 'echo it broke; exit 3'
bootcmd:
- test -e /etc/made/here || echo early > /run/early
runcmd:
- systemctl enable --now napper
- [sh, -c, 'echo "from $0" > /run/late', a word]
- echo said by runcmd
"#;

const NETWORK: &str = "version: 2\nethernets:\n  eth0: {dhcp4: true}\n  second:\n    match: {macaddress: '02:00:00:00:00:02'}\n    set-name: lan1\n    mtu: 1400\n    addresses: [192.168.200.10/24]\n    routes: [{to: 10.200.0.0/16, via: 192.168.200.1}]\n    nameservers: {addresses: [192.168.200.53], search: [demo.test]}\n";

#[test]
fn a_guest_from_boot_to_power_off() {
    let mut guest = guest!(Seed {
        meta_data: r#"{"instance-id":"i-1","local-hostname":"vm-a"}"#,
        user_data: USER_DATA,
        network_config: NETWORK,
    });

    // Somebody who does not know the password, then somebody who does.
    guest.until("vm-a login: ");
    guest.send("\n");
    guest.until("vm-a login: ");
    guest.send("fedora\n");
    guest.until("Password: ");
    guest.send("wrong\n");
    let answer = guest.until("Login incorrect");
    assert!(
        !answer.contains("wrong"),
        "the password was shown: {answer}"
    );
    guest.log_in("vm-a", "fedora", "turtle");

    let (id, _) = guest.run("id -un; id -Gn; pwd; tty; hostname");
    assert_eq!(
        id,
        "fedora\nfedora adm wheel systemd-journal\n/home/fedora\n/dev/ttyS0\nvm-a\n"
    );
    let (status, exit) = guest.run("cloud-init status --wait --long");
    assert_eq!(exit, 0, "{status}");
    assert!(
        status.starts_with("status: done\nextended_status: done\n"),
        "{status}"
    );

    // Files, early and late commands.
    let (stat, _) = guest.run("stat -c '%a %U %G' /etc/made/here; cat /run/early /run/late");
    assert_eq!(stat, "640 root users\nearly\nfrom a word\n");
    assert!(
        guest
            .file("/var/log/cloud-init-output.log")
            .contains("said by runcmd\n")
    );
    assert_eq!(
        guest.file("/home/bob/.ssh/authorized_keys"),
        "ssh-ed25519 AAAA bob\n"
    );

    // The network: one address by DHCP, one by hand on an interface with a new name.
    let (addresses, _) = guest.run("ip -4 -o address | cut -d' ' -f2-7; cat /sys/class/net/*/mtu");
    assert!(
        addresses.contains(&format!("eth0    inet {LEASE}/24")),
        "{addresses}"
    );
    assert!(
        addresses.contains("lan1    inet 192.168.200.10/24"),
        "{addresses}"
    );
    assert!(addresses.contains("1300\n1400\n"), "{addresses}");
    let (routes, _) = guest.run("ip route | cat");
    assert!(
        routes.contains("default via 10.9.0.1 dev eth0 proto dhcp"),
        "{routes}"
    );
    assert!(
        routes.contains("10.200.0.0/16 via 192.168.200.1 dev lan1"),
        "{routes}"
    );
    let resolver = guest.file("/etc/resolv.conf");
    for line in [
        "search demo.test",
        "nameserver 10.9.0.53",
        "nameserver 192.168.200.53",
    ] {
        assert!(
            resolver.lines().any(|found| found == line),
            "{line}: {resolver}"
        );
    }
    let (_, exit) = guest.run("ping -c1 -W5 10.9.0.1 >/dev/null");
    assert_eq!(exit, 0);

    // Services.
    let (state, exit) = guest.run("systemctl is-active napper; systemctl is-enabled napper");
    assert_eq!((state.as_str(), exit), ("active\nenabled\n", 0));
    let (refused, exit) = guest.run("systemctl stop napper 2>&1");
    assert!(refused.contains("sudo"), "{refused}");
    assert_eq!(exit, 4);
    let (unknown, exit) = guest.run("systemctl status nothing 2>&1");
    assert_eq!(
        (unknown.as_str(), exit),
        ("Unit nothing.service could not be found.\n", 4)
    );

    // Signals reach the shell's children, and a job can be stopped.
    guest.send("echo be''gun; sleep 300\n");
    guest.until("begun");
    guest.send("\x03");
    guest.until("^C");
    let (_, exit) = guest.run("true");
    assert_eq!(exit, 0);

    // Another user after the first has left.
    guest.send("exit\n");
    guest.until("vm-a login: ");
    guest.send("bob\n");
    guest.until("Password: ");
    guest.send("builder\n");
    guest.until("$ ");
    let (id, _) = guest.run("id -un; id -Gn");
    assert_eq!(id, "bob\nbob users\n");
    let (refused, exit) = guest.run("poweroff 2>&1");
    assert!(exit == 4 && refused.contains("root"), "{refused}");
    guest.send("exit\n");
    guest.until("vm-a login: ");

    // Root may do what others may not.
    guest.send("root\n");
    guest.until("Password: ");
    guest.send("toor\n");
    guest.until("# ");
    let (state, exit) = guest.run("systemctl stop napper; systemctl is-active napper");
    assert_eq!((state.as_str(), exit), ("inactive\n", 3));
    let (failure, exit) = guest.run("systemctl start broken 2>&1");
    assert!(
        failure.starts_with("Job for broken.service failed"),
        "{failure}"
    );
    assert_eq!(exit, 1);
    let (status, _) = guest.run("systemctl status broken");
    assert!(
        status.contains("Active: failed") && status.contains("it broke"),
        "{status}"
    );
    guest.send("poweroff\n");
    assert!(guest.goes_off());
}

#[test]
fn user_data_that_is_not_yaml_does_not_stop_the_boot() {
    let mut guest = guest!(Seed {
        meta_data: "instance-id: i-2\nlocal-hostname: vm-b\n",
        user_data: "#cloud-config\npassword: [never closed\n",
        network_config: "version: 7\n",
    });
    // There is nobody to log in as, but there is a login.
    guest.until("vm-b login: ");
    guest.send("fedora\n");
    guest.until("Password: ");
    guest.send("[never closed\n");
    guest.until("Login incorrect");
    let log = guest.file("/var/log/cloud-init.log");
    for warning in [
        "Failed loading yaml blob",
        "empty cloud config",
        "version 7",
    ] {
        assert!(log.contains(warning), "{warning}: {log}");
    }
    let status = guest.file("/run/cloud-init/status.json");
    assert!(status.contains("Failed loading yaml blob"), "{status}");
}

#[test]
fn what_cannot_be_done_is_told_and_the_rest_is_done() {
    let mut guest = guest!(Seed {
        meta_data: "{\"local-hostname\": \"vm-c\"}",
        user_data: "#cloud-config\npassword: first\npackages: [no-such-package]\nruncmd: [exit 3]\nwrite_files:\n- {path: /made, owner: 'nobody-known:root'}\ntimezone: Mars/Olympus\nbogus: 1\n",
        network_config: "version: 2\nethernets: {}\n",
    });
    // The password was not meant to last.
    guest.until("vm-c login: ");
    guest.send("fedora\n");
    guest.until("Password: ");
    guest.send("first\n");
    guest.until("required to change your password");
    guest.until("Current password: ");
    guest.send("first\n");
    guest.until("New password: ");
    guest.send("second\n");
    guest.until("Retype new password: ");
    guest.send("second\n");
    guest.until("$ ");
    let (status, exit) = guest.run("cloud-init status --wait --long");
    assert_eq!(exit, 1, "{status}");
    for part in [
        "status: error",
        "extended_status: error - done",
        "no-such-package: not in this guest's image",
        "nobody-known",
        "Invalid timezone Mars/Olympus",
        "scripts_user",
        "unknown key bogus",
    ] {
        assert!(status.contains(part), "{part}: {status}");
    }
    guest.send("exit\n");
    guest.log_in("vm-c", "fedora", "second");
}

//! `passwd`, `group` and `shadow`, line by line.

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub shell: String,
}

/// What a user is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewUser {
    pub name: String,
    pub uid: Option<u32>,
    pub gecos: String,
    pub home: Option<String>,
    pub shell: Option<String>,
    pub primary_group: Option<String>,
    pub no_user_group: bool,
    pub system: bool,
}

type Line = Vec<String>;

/// The three files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    passwd: Vec<Line>,
    group: Vec<Line>,
    shadow: Vec<Line>,
}

fn parse(text: &str, fields: usize) -> Vec<Line> {
    text.lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Line>())
        .filter(|line| line.len() >= fields && !line[0].is_empty())
        .collect()
}

fn render(lines: &[Line]) -> String {
    lines.iter().map(|line| line.join(":") + "\n").collect()
}

fn number(line: &Line) -> Option<u32> {
    line[2].parse().ok()
}

/// The smallest free number of an ordinary user or group, or the largest of a system one.
fn free(lines: &[Line], system: bool) -> u32 {
    let taken = |candidate: &u32| lines.iter().any(|line| number(line) == Some(*candidate));
    let found = if system {
        (201..1_000).rev().find(|candidate| !taken(candidate))
    } else {
        (1_000..60_000).find(|candidate| !taken(candidate))
    };
    found.unwrap_or(60_000)
}

/// A name that would break a line, or the command line of some tool.
pub fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let starts = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric() || first == '_');
    starts
        && name.len() <= 32
        && characters.all(|next| next.is_ascii_alphanumeric() || "-_.$".contains(next))
}

impl Accounts {
    pub fn parse(passwd: &str, group: &str, shadow: &str) -> Self {
        let mut accounts = Self {
            passwd: parse(passwd, 7),
            group: parse(group, 4),
            shadow: parse(shadow, 2),
        };
        for line in &mut accounts.shadow {
            line.resize(9, String::new());
        }
        // Everybody in one has an entry in the other.
        let names: Vec<String> = accounts.passwd.iter().map(|line| line[0].clone()).collect();
        for name in names {
            accounts.shadow_line(&name);
        }
        accounts
    }

    pub fn passwd_text(&self) -> String {
        render(&self.passwd)
    }

    pub fn group_text(&self) -> String {
        render(&self.group)
    }

    pub fn shadow_text(&self) -> String {
        render(&self.shadow)
    }

    pub fn user(&self, name: &str) -> Option<User> {
        let line = self.passwd.iter().find(|line| line[0] == name)?;
        Some(User {
            name: line[0].clone(),
            uid: number(line)?,
            gid: line[3].parse().ok()?,
            home: line[5].clone(),
            shell: line[6].clone(),
        })
    }

    pub fn group_id(&self, name: &str) -> Option<u32> {
        self.group
            .iter()
            .find(|line| line[0] == name)
            .and_then(number)
    }

    /// All groups somebody is in, the primary one first.
    pub fn groups_of(&self, user: &User) -> Vec<u32> {
        let mut groups = vec![user.gid];
        for line in &self.group {
            let member = line[3].split(',').any(|member| member == user.name);
            if let (true, Some(id)) = (member, number(line))
                && !groups.contains(&id)
            {
                groups.push(id);
            }
        }
        groups
    }

    /// The group's number; it is made when there is none.
    pub fn ensure_group(&mut self, name: &str, system: bool) -> u32 {
        if let Some(id) = self.group_id(name) {
            return id;
        }
        let id = free(&self.group, system);
        self.push_group(name, id);
        id
    }

    /// The same for a group whose number is a convention, unless another has it.
    pub fn ensure_group_with(&mut self, name: &str, id: u32) {
        let taken = self.group.iter().any(|line| number(line) == Some(id));
        if self.group_id(name).is_none() && !taken {
            self.push_group(name, id);
        }
    }

    fn push_group(&mut self, name: &str, id: u32) {
        self.group.push(vec![
            name.to_owned(),
            "x".to_owned(),
            id.to_string(),
            String::new(),
        ]);
    }

    pub fn add_to_group(&mut self, user: &str, group: &str) {
        if let Some(line) = self.group.iter_mut().find(|line| line[0] == group) {
            let mut members: Vec<&str> =
                line[3].split(',').filter(|name| !name.is_empty()).collect();
            if !members.contains(&user) {
                members.push(user);
                line[3] = members.join(",");
            }
        }
    }

    /// Adds a user, locked, unless there is one of that name.
    pub fn add_user(&mut self, new: &NewUser) -> Option<User> {
        if let Some(user) = self.user(&new.name) {
            return Some(user);
        }
        if !is_name(&new.name) {
            return None;
        }
        let uid = new.uid.unwrap_or_else(|| free(&self.passwd, new.system));
        let gid = match &new.primary_group {
            Some(group) => self.ensure_group(group, new.system),
            None if new.no_user_group => self.ensure_group("users", true),
            None => self.user_group(&new.name, uid, new.system),
        };
        let home = new
            .home
            .clone()
            .unwrap_or_else(|| format!("/home/{}", new.name));
        let shell = new.shell.clone().unwrap_or_else(|| "/bin/bash".to_owned());
        let clean = |text: &str| text.replace([':', '\n'], " ");
        self.passwd.push(vec![
            new.name.clone(),
            "x".to_owned(),
            uid.to_string(),
            gid.to_string(),
            clean(&new.gecos),
            clean(&home),
            clean(&shell),
        ]);
        self.shadow_line(&new.name);
        self.user(&new.name)
    }

    /// A group of the user's own, with the user's number where that is free.
    fn user_group(&mut self, name: &str, uid: u32, system: bool) -> u32 {
        if let Some(id) = self.group_id(name) {
            return id;
        }
        let taken = self.group.iter().any(|line| number(line) == Some(uid));
        let id = if taken {
            free(&self.group, system)
        } else {
            uid
        };
        self.push_group(name, id);
        id
    }

    fn shadow_line(&mut self, name: &str) -> &mut Line {
        let at = self.shadow.iter().position(|line| line[0] == name);
        let at = at.unwrap_or_else(|| {
            let fields = [name, "!", "", "0", "99999", "7", "", "", ""];
            self.shadow.push(fields.map(str::to_owned).to_vec());
            self.shadow.len() - 1
        });
        &mut self.shadow[at]
    }

    /// The password's entry, when the user exists.
    pub fn secret(&self, name: &str) -> Option<&str> {
        self.user(name)?;
        let line = self.shadow.iter().find(|line| line[0] == name)?;
        Some(&line[1])
    }

    /// Whether the password must be changed at the next login.
    pub fn is_expired(&self, name: &str) -> bool {
        self.shadow
            .iter()
            .any(|line| line[0] == name && line[2] == "0")
    }

    pub fn set_secret(&mut self, name: &str, secret: &str, day: i64) -> bool {
        if self.user(name).is_none() || secret.contains([':', '\n']) {
            return false;
        }
        let line = self.shadow_line(name);
        secret.clone_into(&mut line[1]);
        line[2] = day.to_string();
        true
    }

    pub fn expire(&mut self, name: &str) {
        if self.user(name).is_some() {
            "0".clone_into(&mut self.shadow_line(name)[2]);
        }
    }

    /// No password opens it until one is set.
    pub fn lock(&mut self, name: &str) {
        if self.user(name).is_some() {
            let line = self.shadow_line(name);
            if !line[1].starts_with('!') {
                line[1].insert(0, '!');
            }
        }
    }

    /// The opposite of [`Self::lock`], for an entry that has a password.
    pub fn unlock(&mut self, name: &str) {
        if self.user(name).is_some() {
            let line = self.shadow_line(name);
            if line[1].len() > 1 && line[1].starts_with('!') {
                line[1].remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nbroken\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:\nadm:x:4:root\n";
    const SHADOW: &str = "root:*:19000:0:99999:7:::\n";

    fn accounts() -> Accounts {
        Accounts::parse(PASSWD, GROUP, SHADOW)
    }

    #[test]
    fn everybody_gets_a_shadow_entry_and_broken_lines_go() {
        let accounts = accounts();
        assert_eq!(
            accounts.shadow_text(),
            "root:*:19000:0:99999:7:::\nnobody:!::0:99999:7:::\n"
        );
        assert_eq!(accounts.passwd_text().lines().count(), 2);
    }

    #[test]
    fn a_user_is_added_once() {
        let mut accounts = accounts();
        let new = NewUser {
            name: "fedora".to_owned(),
            gecos: "a:b".to_owned(),
            ..NewUser::default()
        };
        let user = accounts.add_user(&new).unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1000));
        accounts.add_to_group("fedora", "wheel");
        accounts.add_to_group("fedora", "wheel");
        accounts.add_to_group("fedora", "adm");
        assert_eq!(accounts.add_user(&new), Some(user.clone()));
        assert_eq!(
            accounts.passwd_text().lines().last().unwrap(),
            "fedora:x:1000:1000:a b:/home/fedora:/bin/bash"
        );
        assert_eq!(
            accounts.group_text(),
            "root:x:0:\nwheel:x:10:fedora\nadm:x:4:root,fedora\nfedora:x:1000:\n"
        );
        assert_eq!(accounts.groups_of(&user), [1000, 10, 4]);
        assert_eq!(accounts.secret("fedora"), Some("!"));
    }

    #[test]
    fn numbers_and_groups_of_users() {
        let mut accounts = accounts();
        accounts.ensure_group("first", false);
        let own = accounts
            .add_user(&NewUser {
                name: "one".to_owned(),
                ..NewUser::default()
            })
            .unwrap();
        assert_eq!((own.uid, own.gid), (1000, 1001));
        let system = accounts
            .add_user(&NewUser {
                name: "daemon1".to_owned(),
                system: true,
                ..NewUser::default()
            })
            .unwrap();
        assert_eq!(system.uid, 999);
        let given = accounts
            .add_user(&NewUser {
                name: "given".to_owned(),
                uid: Some(4242),
                primary_group: Some("wheel".to_owned()),
                ..NewUser::default()
            })
            .unwrap();
        assert_eq!((given.uid, given.gid), (4242, 10));
    }

    #[test]
    fn names_that_would_break_a_line() {
        let mut accounts = accounts();
        for name in ["", "a:b", "a\nb", "-rf", "a b", "ä"] {
            let new = NewUser {
                name: name.to_owned(),
                ..NewUser::default()
            };
            assert_eq!(accounts.add_user(&new), None, "{name:?}");
        }
        assert_eq!(accounts.passwd_text().lines().count(), 2);
    }

    #[test]
    fn secrets_are_set_expired_locked() {
        let mut accounts = accounts();
        assert!(accounts.set_secret("root", "$6$x$y", 20000));
        assert!(!accounts.set_secret("nobody2", "$6$x$y", 20000));
        assert!(!accounts.set_secret("root", "a:b", 20000));
        assert!(!accounts.is_expired("root"));
        accounts.expire("root");
        assert!(accounts.is_expired("root"));
        accounts.lock("root");
        accounts.lock("root");
        assert_eq!(accounts.secret("root"), Some("!$6$x$y"));
        accounts.unlock("root");
        assert_eq!(accounts.secret("root"), Some("$6$x$y"));
        accounts.unlock("nobody");
        assert_eq!(accounts.secret("nobody"), Some("!"));
    }
}

//! A file of users and hashes of their passwords, one `user:hash` a line: bcrypt (`htpasswd -B`) or argon2.

use std::path::Path;

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use foldhash::{HashMap, HashMapExt};

use super::{FileError, read};

/// Users of one file.
#[derive(Debug)]
pub(super) struct Passwords {
    users: HashMap<String, Hash>,
    /// What the passwords of unknown users are compared with, so that they take as long as those of known ones.
    decoy: Hash,
}

/// The hash of a password, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hash {
    Bcrypt(String),
    Argon2(String),
}

/// Whose hash it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    Known,
    Unknown,
}

impl Passwords {
    pub(super) fn load(path: &Path) -> Result<Self, FileError> {
        let error = |message: String, hint: &str| FileError {
            path: path.to_owned(),
            message,
            hint: hint.to_owned(),
        };
        let content = String::from_utf8(read(path, FILE_BYTES_MAX)?)
            .map_err(|_not_utf8| error("not UTF-8".to_owned(), "save it as UTF-8"))?;
        Self::parse(&content).map_err(|(line, message)| {
            let message = if line == 0 {
                message.to_owned()
            } else {
                format!("line {line}: {message}")
            };
            error(message, "make lines with `htpasswd -nB USER`")
        })
    }

    /// Refuses with the number of the line; 0 = the file as a whole.
    pub(super) fn parse(content: &str) -> Result<Self, (usize, &'static str)> {
        let mut users = HashMap::new();
        let mut decoy = None;
        for (index, line) in content.lines().enumerate() {
            let number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line.split_once(':').ok_or((number, "not user:hash"))?;
            let hash = Hash::parse(hash).map_err(|message| (number, message))?;
            decoy.get_or_insert_with(|| hash.clone());
            if users.insert(user.to_owned(), hash).is_some() {
                return Err((number, "the same user twice"));
            }
        }
        let decoy = decoy.ok_or((0, "names no user"))?;
        Ok(Self { users, decoy })
    }

    /// What to compare the password of `user` with.
    pub(super) fn hash(&self, user: &str) -> (&Hash, User) {
        match self.users.get(user) {
            Some(hash) => (hash, User::Known),
            None => (&self.decoy, User::Unknown),
        }
    }
}

impl Hash {
    /// Checks form and cost: who logs in must not be able to take the host's memory.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("$argon2") {
            let hash = PasswordHash::new(text).map_err(|_invalid| "not an argon2 hash")?;
            let params =
                argon2::Params::try_from(&hash).map_err(|_invalid| "not an argon2 hash")?;
            if hash.salt.is_none() || hash.hash.is_none() {
                return Err("an argon2 hash without salt or output");
            }
            if params.m_cost() > ARGON2_KIB_MAX || params.t_cost() > 16 || params.p_cost() > 16 {
                return Err("an argon2 hash that takes more than m=262144, t=16, p=16");
            }
            return Ok(Self::Argon2(text.to_owned()));
        }
        if ["$2a$", "$2b$", "$2y$", "$2x$"]
            .iter()
            .any(|form| text.starts_with(form))
        {
            let parts: bcrypt::HashParts = text.parse().map_err(|_invalid| "not a bcrypt hash")?;
            if !(4..=BCRYPT_COST_MAX).contains(&parts.get_cost()) {
                return Err("a bcrypt hash with a cost beyond 4 to 15");
            }
            return Ok(Self::Bcrypt(text.to_owned()));
        }
        Err("neither a bcrypt nor an argon2 hash")
    }

    /// As written.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Bcrypt(text) | Self::Argon2(text) => text,
        }
    }

    /// Whether `password` is the one. Takes a tenth of a second or more, on purpose.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::Argon2(text) => PasswordHash::new(text).is_ok_and(|hash| {
                let verified = argon2::Argon2::default().verify_password(password, &hash);
                verified.is_ok()
            }),
        }
    }
}

const FILE_BYTES_MAX: u64 = 1 << 20;
/// 256 MiB for each thread that verifies.
const ARGON2_KIB_MAX: u32 = 256 << 10;
/// 2^15 rounds: some seconds.
const BCRYPT_COST_MAX: u32 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret`, at the least cost there is.
    fn bcrypt(password: &str) -> String {
        let parts = bcrypt::hash_with_salt(password, 4, [7; 16]).expect("hashes");
        parts.format_for_version(bcrypt::Version::TwoY)
    }

    fn argon2(password: &str) -> String {
        use argon2::password_hash::PasswordHasher as _;
        let params = argon2::Params::new(8, 1, 1, None).expect("valid");
        let hash: PasswordHash = argon2::Argon2::from(params)
            .hash_password_with_salt(password.as_bytes(), &[7; 16])
            .expect("hashes");
        hash.to_string()
    }

    #[test]
    fn passwords_are_verified_by_the_hash_of_their_user() {
        let text = format!(
            "# users\n\na:{}\nb:{}\n",
            bcrypt("secret"),
            argon2("geheim")
        );
        let passwords = Passwords::parse(&text).expect("valid");
        for (user, password, known, right) in [
            ("a", "secret", User::Known, true),
            ("a", "geheim", User::Known, false),
            ("b", "geheim", User::Known, true),
            ("b", "secret", User::Known, false),
            ("b", "", User::Known, false),
            ("A", "secret", User::Unknown, true),
        ] {
            let (hash, who) = passwords.hash(user);
            assert_eq!(
                (who, hash.verify(password.as_bytes())),
                (known, right),
                "{user} {password}"
            );
        }
    }

    #[test]
    fn files_that_let_nobody_in_or_cost_too_much_are_refused_with_the_line() {
        let good = bcrypt("x");
        let costly = good.replace("$04$", "$16$");
        for (text, expected) in [
            (String::new(), (0, "names no user")),
            ("# nobody\n".to_owned(), (0, "names no user")),
            ("a".to_owned(), (1, "not user:hash")),
            (
                "a:secret".to_owned(),
                (1, "neither a bcrypt nor an argon2 hash"),
            ),
            (
                "a:{SHA}xyz".to_owned(),
                (1, "neither a bcrypt nor an argon2 hash"),
            ),
            ("a:$2y$04$short".to_owned(), (1, "not a bcrypt hash")),
            (
                format!("a:{costly}"),
                (1, "a bcrypt hash with a cost beyond 4 to 15"),
            ),
            (format!("a:{good}\na:{good}"), (2, "the same user twice")),
            ("\na:$argon2id$x".to_owned(), (2, "not an argon2 hash")),
            (
                format!("a:{}", argon2("x").replace("m=8,", "m=1048576,")),
                (
                    1,
                    "an argon2 hash that takes more than m=262144, t=16, p=16",
                ),
            ),
        ] {
            assert_eq!(Passwords::parse(&text).err(), Some(expected), "{text}");
        }
    }
}

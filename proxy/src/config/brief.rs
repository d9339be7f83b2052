//! Where a weir keeps its things, from a file of which little else is read: whoever only asks the running weir need not
//! understand ten thousand routes first.
//!
//! Lines are sorted by the table headers above them, which is right for every valid file without multi-line strings: a bare
//! word in brackets is a header there and no value. Whatever is not as simple is left to `load`.

use std::path::Path;

use super::reader::Table;
use super::source::Source;
use super::{ProcessSettings, process, read, shield, syntax};

/// What `[process]` and `[shield]` of a file say.
#[derive(Debug, Clone, PartialEq)]
pub struct Brief {
    /// `[process]`
    pub process: ProcessSettings,
    /// `[shield]`
    pub shield: crate::xdp::Settings,
}

/// What `path` says in `[process]` and `[shield]`; whether the rest of it is valid is not looked at. `None`: only
/// [`load`](super::load) can tell, or say what is wrong.
pub fn brief(path: &Path) -> Option<Brief> {
    of(&read(path).ok()?)
}

fn of(text: &str) -> Option<Brief> {
    let text = sections(text)?;
    let source = Source::new(&text);
    let tree = syntax::valid(&text)?;
    let mut root = Table::root(&source, tree.get_ref());
    let brief = Brief {
        process: process::process(&mut root),
        shield: shield::shield(&mut root),
    };
    drop(root);
    source.into_problems().is_empty().then_some(brief)
}

/// The lines above the first header and those of the two sections.
fn sections(text: &str) -> Option<String> {
    if text.contains("\"\"\"") || text.contains("'''") {
        return None;
    }
    let mut kept = String::new();
    let mut keeps = true;
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        if start.starts_with('[') {
            let name = header(start)?;
            let section = name.split('.').next();
            keeps = matches!(section, Some("process" | "shield"));
        }
        if keeps {
            kept.push_str(line);
        }
    }
    Some(kept)
}

/// The name in `[name]` or `[[name]]`; `None` if the line is not surely a header.
fn header(line: &str) -> Option<&str> {
    let line = line.split_once('#').map_or(line, |(before, _)| before);
    let line = line.trim_end();
    let name = match line.strip_prefix("[[") {
        Some(rest) => rest.strip_suffix("]]")?,
        None => line.strip_prefix('[')?.strip_suffix(']')?,
    };
    let is_bare = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.';
    (!name.is_empty() && name.bytes().all(is_bare)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sections_are_found_wherever_they_stand_and_the_rest_may_be_anything() {
        let text = r#"
            [[route]] # [process]
            host = "[process]"
            methods = [
                "GET",
            ]
            nonsense = 1
            [process] # the directories
            run_dir = "/a"
            [[upstream]]
            run_dir = "/no"
            [shield]
            allow = [
                "192.0.2.0/24", # [route]
            ]
            pin_dir = "/sys/fs/bpf/b"
            [shield.limits]
            [log]
            pin_dir = "/no"
        "#;
        let brief = of(text).expect("simple");
        assert_eq!(brief.process.run_dir, Path::new("/a"));
        assert_eq!(brief.shield.pin_dir, Path::new("/sys/fs/bpf/b"));
        let dotted = of("process.run_dir = \"/c\"\n[[route]]\n").expect("simple");
        assert_eq!(dotted.process.run_dir, Path::new("/c"));
    }

    #[test]
    fn what_is_not_simple_or_not_valid_is_left_to_the_whole_reading() {
        for text in [
            "[ process ]\nrun_dir = \"/a\"\n",
            "[\"process\"]\nrun_dir = \"/a\"\n",
            "[log]\na = \"\"\"\n[process]\n\"\"\"\n",
            "[log]\na = '''\n[process]\n'''\n",
            "[log]\na = [\n[1],\n]\n",
            "[process]\nrun_dir = 1\n",
            "[process]\nrun_dir = \n",
            "[process]\n[process]\n",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn it_says_what_the_whole_reading_says() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        for name in ["weir.toml", "minimal.toml"] {
            let path = examples.join(name);
            let settings = super::super::load(&path).expect(name);
            let brief = brief(&path).expect(name);
            assert_eq!(brief.process, settings.process, "{name}");
            assert_eq!(brief.shield, settings.shield, "{name}");
        }
    }
}

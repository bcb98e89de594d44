//! How the commands of a type are run: as processes of this host, or in a container of an engine that is there. `[jobs]`
//! says it for all types of a host, a type's own file for that type.

use serde::{Deserialize, Serialize};

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As processes of this host.
    Direct,
    /// In a container for each.
    Container,
}

impl Mode {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Container => "container",
        }
    }
}

/// Whether an image that is not there is fetched: a job must not wait for a registry unless somebody wants that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// Never.
    #[default]
    Never,
    /// Where it is missing.
    Missing,
}

impl Pull {
    /// The word, as both engines know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Missing => "missing",
        }
    }
}

/// What one place says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// How.
    pub mode: Option<Mode>,
    /// The engine with flags of its own, such as `["/usr/bin/podman"]`.
    pub engine: Option<Vec<String>>,
    /// The image.
    pub image: Option<String>,
    /// The network; none where it is not said.
    pub network: Option<String>,
    /// Whether an image is fetched.
    pub pull: Option<Pull>,
}

/// A container for each command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The engine with flags of its own.
    pub engine: Vec<String>,
    /// The image.
    pub image: String,
    /// The network it is in; none.
    pub network: Option<String>,
    /// Whether the image is fetched.
    pub pull: Pull,
}

/// The engine where nobody names one.
const ENGINE: &str = "/usr/bin/podman";

impl Said {
    /// What is wrong with it by itself; nothing where it is right.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let engine = self.engine.as_ref();
        if engine.is_some_and(|it| it.first().is_none_or(|program| !program.starts_with('/'))) {
            return Some("engine: expected an absolute path, and flags".to_owned());
        }
        let is_word = |text: &String| {
            !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_whitespace)
        };
        [("image", &self.image), ("network", &self.network)].into_iter().find_map(|(key, it)| {
            let it = it.as_ref().filter(|it| !is_word(it))?;
            Some(format!("{key}: {it:?} is none"))
        })
    }

    /// The container for a type that says this, on a host that says `host`; none where it is run direct.
    ///
    /// # Errors
    /// There is no image.
    pub fn resolve(&self, host: &Self) -> Result<Option<Container>, String> {
        match self.mode.or(host.mode).unwrap_or(Mode::Direct) {
            Mode::Direct => Ok(None),
            Mode::Container => Ok(Some(Container {
                engine: self
                    .engine
                    .clone()
                    .or_else(|| host.engine.clone())
                    .unwrap_or_else(|| vec![ENGINE.to_owned()]),
                image: self
                    .image
                    .clone()
                    .or_else(|| host.image.clone())
                    .ok_or("mode \"container\" needs an image")?,
                network: self.network.clone().or_else(|| host.network.clone()),
                pull: self.pull.or(host.pull).unwrap_or_default(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_says_it_for_itself_and_a_host_for_all() {
        let host = Said {
            mode: Some(Mode::Container),
            image: Some("tools:1".to_owned()),
            ..Said::default()
        };
        let own = Said { network: Some("lan".to_owned()), ..Said::default() };
        let container = own.resolve(&host).unwrap().unwrap();
        assert_eq!(
            (container.image.as_str(), container.network.as_deref()),
            ("tools:1", Some("lan"))
        );
        assert_eq!((container.engine, container.pull), (vec![ENGINE.to_owned()], Pull::Never));
        let direct = Said { mode: Some(Mode::Direct), ..Said::default() };
        assert_eq!(direct.resolve(&host), Ok(None));
        assert_eq!(Said::default().resolve(&Said::default()), Ok(None));
        let none = Said { mode: Some(Mode::Container), ..Said::default() };
        assert!(none.resolve(&Said::default()).unwrap_err().contains("needs an image"));
    }

    #[test]
    fn what_an_engine_would_take_for_a_flag_is_no_image() {
        let with =
            |image: &str| Said { image: Some(image.to_owned()), ..Said::default() }.problem();
        assert_eq!(with("busybox:1.36"), None);
        for odd in ["", "--privileged", "a b"] {
            assert!(with(odd).is_some(), "{odd}");
        }
        let engine = Said { engine: Some(vec!["podman".to_owned()]), ..Said::default() };
        assert!(engine.problem().is_some());
    }
}

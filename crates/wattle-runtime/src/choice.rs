//! Which runtime serves, and why.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::onnxruntime::execution_provider::ExecutionProvider;
use crate::onnxruntime::library::{Discovery, PINNED_VERSION};
use crate::onnxruntime::{OnnxRuntime, OrtOptions};
use crate::rten::RtenRuntime;
use crate::runtime::{Runtime, RuntimeError};

/// The runtime the user asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// ONNX Runtime where it is found, else rten.
    #[default]
    Auto,
    /// rten, always there.
    Rten,
    /// ONNX Runtime, or an error.
    OnnxRuntime,
    /// No model runs: a profile's time passes.
    Simulated,
}

impl RuntimeChoice {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Rten, Self::OnnxRuntime, Self::Simulated];

    /// Its name in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Rten => "rten",
            Self::OnnxRuntime => "onnxruntime",
            Self::Simulated => "simulated",
        }
    }
}

impl fmt::Display for RuntimeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No runtime has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no runtime is named {0}; there are auto, rten, onnxruntime and simulated")]
pub struct UnknownRuntime(String);

impl FromStr for RuntimeChoice {
    type Err = UnknownRuntime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|choice| choice.name().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| UnknownRuntime(text.to_owned()))
    }
}

/// What a choice is made from.
#[derive(Clone, Default)]
pub struct Offer {
    /// What the search for ONNX Runtime gave.
    pub discovery: Discovery,
    /// How ONNX Runtime is to run models, if it does.
    pub ort: OrtOptions,
    /// The simulated runtime, where there is a simulated device for it.
    pub simulated: Option<Arc<dyn Runtime>>,
}

/// Makes the runtime that was chosen, and says why it is that one.
///
/// `Auto` falls back to rten only where nothing was asked of ONNX Runtime: a library the user named, or
/// an accelerator, that can't be had is an error.
pub fn choose(choice: RuntimeChoice, offer: &Offer) -> Result<(Arc<dyn Runtime>, String), RuntimeError> {
    match choice {
        RuntimeChoice::Rten => Ok((Arc::new(RtenRuntime), "rten was asked for".to_owned())),
        RuntimeChoice::OnnxRuntime => onnxruntime(offer),
        RuntimeChoice::Simulated => match &offer.simulated {
            Some(runtime) => Ok((Arc::clone(runtime), "the simulated runtime was asked for".to_owned())),
            None => Err(RuntimeError::Unavailable {
                runtime: RuntimeChoice::Simulated.name(),
                detail: "it needs a simulated device with a profile".to_owned(),
            }),
        },
        RuntimeChoice::Auto => match onnxruntime(offer) {
            Ok(chosen) => Ok(chosen),
            Err(error) if asked_for(offer) => Err(error),
            Err(error) => {
                let how = format!("`wattle runtimes install` or `pip install onnxruntime=={PINNED_VERSION}`");
                let why = match &offer.discovery.chosen {
                    None => {
                        format!("no ONNX Runtime was found; {how} gets it, which is faster for most models")
                    }
                    Some(_) => {
                        format!("{error}; {how} gets one that can be used, which is faster for most models")
                    }
                };
                Ok((Arc::new(RtenRuntime), why))
            }
        },
    }
}

/// Whether the user named a library or an accelerator.
fn asked_for(offer: &Offer) -> bool {
    let named = offer.discovery.chosen.as_ref().is_some_and(|library| library.is_named());
    named || offer.ort.execution_providers.iter().any(|provider| *provider != ExecutionProvider::Cpu)
}

fn onnxruntime(offer: &Offer) -> Result<(Arc<dyn Runtime>, String), RuntimeError> {
    let Some(library) = &offer.discovery.chosen else {
        let places: Vec<_> =
            offer.discovery.considered.iter().map(|(place, why)| format!("{place}: {why}")).collect();
        return Err(RuntimeError::Unavailable {
            runtime: RuntimeChoice::OnnxRuntime.name(),
            detail: format!(
                "no library was found; get one with `wattle runtimes install` or `pip install \
                 onnxruntime=={PINNED_VERSION}`. Looked at {}",
                places.join("; ")
            ),
        });
    };
    let runtime = OnnxRuntime::open(library.clone(), offer.ort.clone())?;
    let why = format!("ONNX Runtime was found by {}: {}", library.how_found, library.path.display());
    Ok((Arc::new(runtime), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(choice: RuntimeChoice, offer: &Offer) -> String {
        match choose(choice, offer) {
            Ok((runtime, why)) => format!("{}: {why}", runtime.name()),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn names_parse_and_unknown_ones_list_the_known() {
        for choice in RuntimeChoice::ALL {
            assert_eq!(choice.name().parse(), Ok(choice));
        }
        let error = "tensorflow".parse::<RuntimeChoice>().unwrap_err().to_string();
        assert!(RuntimeChoice::ALL.iter().all(|choice| error.contains(choice.name())), "{error}");
    }

    #[test]
    fn auto_without_a_library_is_rten_and_says_how_to_do_better() {
        let text = says(RuntimeChoice::Auto, &Offer::default());
        assert!(text.starts_with("rten: no ONNX Runtime was found; `wattle runtimes install`"), "{text}");
    }

    #[test]
    fn what_was_asked_for_is_never_replaced() {
        let mut offer = Offer::default();
        offer.discovery.considered.push(("ORT_DYLIB_PATH".to_owned(), "not given".to_owned()));
        let text = says(RuntimeChoice::OnnxRuntime, &offer);
        assert!(text.starts_with("error: onnxruntime is not available"), "{text}");
        assert!(text.contains("ORT_DYLIB_PATH: not given"), "{text}");
        assert!(says(RuntimeChoice::Simulated, &offer).contains("needs a simulated device"));
        offer.ort.execution_providers.push(ExecutionProvider::Cpu);
        assert!(says(RuntimeChoice::Auto, &offer).starts_with("rten: "));
        offer.ort.execution_providers.push(ExecutionProvider::Cuda);
        assert!(says(RuntimeChoice::Auto, &offer).starts_with("error: "));
    }
}

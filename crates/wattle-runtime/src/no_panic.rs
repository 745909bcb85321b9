//! Turns a panic of an inference library into text, so that one bad model can't end the server.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; gives the panic's message if it panics.
///
/// Whatever `work` was changing must be thrown away or be as good as before after a panic: that is
/// true of both libraries here, whose models are read-only while they run.
pub(crate) fn no_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("it panicked: {}", message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}

#[cfg(test)]
mod tests {
    use super::no_panic;

    #[test]
    fn panic_becomes_text() {
        assert_eq!(no_panic(|| 3), Ok(3));
        let caught: Result<(), _> = no_panic(|| panic!("shape {}", 7));
        assert_eq!(caught, Err("it panicked: shape 7".to_owned()));
    }
}

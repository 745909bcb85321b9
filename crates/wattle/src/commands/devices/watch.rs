//! `wattle devices --watch`: the devices live. On a terminal a screen of its own, left as it was found;
//! elsewhere a line for each device and look.

use std::collections::VecDeque;
use std::io::{IsTerminal, Stdout, Write, stdout};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use wattle_core::id::DeviceId;
use wattle_device::device::Access;

use super::view::{Machine, Seen};
use super::{json, text};

/// Looks whose power is drawn.
const KEPT: usize = 60;
/// The eight heights of a drawn figure.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Runs until it is ended, or until nobody reads it any more.
pub(super) fn run(machine: &mut Machine, every: Duration, as_json: bool) -> Result<()> {
    machine.look();
    if stdout().is_terminal() && !as_json {
        return on_screen(machine, every);
    }
    loop {
        thread::sleep(every);
        let seen = machine.look();
        let lines = if as_json { json::of_machine(&seen).to_string() } else { plain(&seen) };
        if writeln!(stdout(), "{lines}").is_err() {
            return Ok(()); // whoever read this has gone
        }
    }
}

/// A line for each device.
fn plain(seen: &Seen) -> String {
    let line = |device: &super::view::SeenDevice| {
        let knobs = device.inspection.knobs.iter().filter_map(|knob| match knob.stands {
            Access::Here(Some(value)) => Some(format!(", {} {value} {}", knob.knob.name(), knob.unit)),
            _ => None,
        });
        format!("{}: {}{}", device.info.id, text::of_power(device), knobs.collect::<String>())
    };
    seen.devices.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The terminal in the form of a screen; gives it back when dropped, after a panic too, and when a signal
/// ends the process.
struct Screen(Stdout);

impl Screen {
    fn open() -> std::io::Result<Self> {
        give_back_on_signals()?;
        terminal::enable_raw_mode()?;
        let mut screen = Self(stdout());
        execute!(screen.0, EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Draws `text` in place of what was there, cut to the size of the terminal.
    fn draw(&mut self, text: &str) -> std::io::Result<()> {
        // A terminal that doesn't know its size says 0.
        let (columns, rows) = match terminal::size()? {
            (0, _) | (_, 0) => (80, 24),
            size => size,
        };
        queue!(self.0, cursor::MoveTo(0, 0))?;
        for (row, line) in text.lines().take(usize::from(rows)).enumerate() {
            let line: String = line.chars().take(usize::from(columns)).collect();
            queue!(self.0, cursor::MoveTo(0, row as u16))?;
            write!(self.0, "{line}")?;
            queue!(self.0, Clear(ClearType::UntilNewLine))?;
        }
        queue!(self.0, Clear(ClearType::FromCursorDown))?;
        self.0.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Leaves the terminal as it was found.
fn give_back() {
    // Nothing can be done about a terminal that went away. Its mode first: what is written may block.
    let _ = terminal::disable_raw_mode();
    let _ = execute!(stdout(), cursor::Show, LeaveAlternateScreen);
}

/// Gives the terminal back before a signal ends the process as it would have, whatever a driver does meanwhile.
fn give_back_on_signals() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            give_back();
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

fn on_screen(machine: &mut Machine, every: Duration) -> Result<()> {
    let mut screen = Screen::open().context("the terminal can't be used as a screen; --json needs none")?;
    let mut history: Vec<(DeviceId, VecDeque<f64>)> = Vec::new();
    loop {
        let seen = machine.look();
        let drawn = text::of_machine(&seen);
        let graphs: Vec<_> = seen
            .devices
            .iter()
            .filter_map(|device| {
                let Access::Here(watts) = device.power else { return None };
                Some(graph(&device.info.id, watts.get(), &mut history))
            })
            .collect();
        let every_seconds = every.as_secs_f64();
        let head = format!("wattle devices, every {every_seconds} s; q ends it");
        screen.draw(&format!("{head}\n\n{}\n\n{drawn}", graphs.join("\n")))?;
        if is_ended_within(every)? {
            return Ok(());
        }
    }
}

/// The power of a device over the last looks, in a line. Its highest bar is the most it drew.
fn graph(id: &DeviceId, watts: f64, history: &mut Vec<(DeviceId, VecDeque<f64>)>) -> String {
    if !history.iter().any(|(of, _)| of == id) {
        history.push((id.clone(), VecDeque::new()));
    }
    let Some((_, kept)) = history.iter_mut().find(|(of, _)| of == id) else { return String::new() };
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(watts);
    let most = kept.iter().copied().fold(0.0, f64::max);
    let bar = |watts: &f64| {
        let share = if most > 0.0 { (watts / most).clamp(0.0, 1.0) } else { 0.0 };
        BARS.get((share * (BARS.len() - 1) as f64).round() as usize).copied().unwrap_or(' ')
    };
    let bars: String = kept.iter().map(bar).collect();
    format!("{id:<12} {watts:>8.1} W  {bars}  most {most:.1} W")
}

/// Waits for `duration`; tells whether a key that ends it was pressed. A new size draws anew at once.
fn is_ended_within(duration: Duration) -> std::io::Result<bool> {
    let until = Instant::now() + duration;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            return Ok(false);
        }
        match event::read()? {
            Event::Key(key) if is_end(&key) => return Ok(true),
            Event::Resize(..) => return Ok(false),
            _ => {}
        }
    }
}

fn is_end(key: &KeyEvent) -> bool {
    let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    key.kind == KeyEventKind::Press
        && (is_interrupt || matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_keeps_the_last_looks_and_is_as_high_as_the_most_of_them() {
        let mut history = Vec::new();
        graph(&"cpu".into(), 100.0, &mut history);
        for _ in 0..KEPT {
            graph(&"cpu".into(), 5.0, &mut history);
        }
        let line = graph(&"cpu".into(), 10.0, &mut history);
        assert!(line.starts_with("cpu              10.0 W  ▅▅"), "{line}");
        assert!(line.ends_with("▅█  most 10.0 W"), "{line}");
    }

    #[test]
    fn q_escape_and_interrupt_end_it_and_no_other_key_does() {
        let key = |code, modifiers| is_end(&KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Char('x'), KeyModifiers::NONE));
    }
}

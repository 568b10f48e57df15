//! Signals that ask to stop end the work tidily: exit 128 and their number, as 130 for SIGINT, nothing half-written.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;

use modelseal_format::context::Cancel;

/// Whatever would end this process and can be caught: a command of a project must not go on without it.
const STOP: [i32; 10] =
    [SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU];

static ARRIVED: AtomicI32 = AtomicI32::new(0);

static CANCEL: OnceLock<Cancel> = OnceLock::new();

/// Work that looks at the request has ended by then; what still runs waits for input.
const GRACE: Duration = Duration::from_millis(1500);

/// What a signal cancels: all work of this run.
pub(super) fn cancel() -> Cancel {
    CANCEL.get_or_init(Cancel::default).clone()
}

/// Listens on a thread of its own. If that cannot be set up, signals keep their usual effect.
pub(super) fn watch() {
    // A limit on the size of files is an error of the write, not the death of the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let Ok(mut signals) = Signals::new(STOP) else {
        return;
    };
    let listen = move || {
        let mut count = 0;
        for signal in &mut signals {
            ARRIVED.store(signal, Ordering::SeqCst);
            cancel().request();
            count += 1;
            // A command that runs is ended first, and what it had replaced is put back.
            if count > 1 && !cancel().is_busy() {
                leave();
            }
            let _ = std::thread::Builder::new().spawn(|| {
                std::thread::sleep(GRACE);
                while cancel().is_busy() {
                    std::thread::sleep(GRACE / 10);
                }
                leave();
            });
        }
    };
    let _ = std::thread::Builder::new().name("signals".to_string()).spawn(listen);
}

fn leave() -> ! {
    cancel().remove_unfinished();
    std::process::exit(exit_code().map_or(2, i32::from))
}

/// 128 and the signal's number, if one arrived.
pub(super) fn exit_code() -> Option<u8> {
    match ARRIVED.load(Ordering::SeqCst) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}

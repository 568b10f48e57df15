//! Termination signals end the work cleanly: no half-written file remains, and the exit code is 128 plus the signal's
//! number (130 for SIGINT).

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;

use modelseal_format::context::Cancel;

/// All signals that would end this process and can be caught. A command of a project must not continue without it.
const STOP: [i32; 10] =
    [SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU];

static ARRIVED: AtomicI32 = AtomicI32::new(0);

static CANCEL: OnceLock<Cancel> = OnceLock::new();

/// Work that checks for cancellation ends within this time. Anything still running then is waiting for input.
const GRACE: Duration = Duration::from_millis(1500);

/// The cancellation of all work in this run. A signal requests it.
pub(super) fn cancel() -> Cancel {
    CANCEL.get_or_init(Cancel::default).clone()
}

/// Starts a thread that waits for signals. If that fails, signals keep their default effect.
pub(super) fn watch() {
    // Exceeding the file size limit becomes a write error and does not kill the process.
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
            // First the running command is ended, and the artifact that it had replaced is restored.
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

/// 128 plus the signal's number, if a signal arrived.
pub(super) fn exit_code() -> Option<u8> {
    match ARRIVED.load(Ordering::SeqCst) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}

//! The end of the user's session on Windows: log-off and shutdown.
//!
//! Windows tells a console program of it only if no library of that program knows of windows, as that of the line editor does. Programs
//! with windows are told by a message to each window. So a thread keeps a window that is never shown, and waits there for the message.
#![allow(unsafe_code)]

use std::ptr::{null, null_mut};
use std::sync::{LazyLock, Once};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use windows_sys::Win32::Foundation::{HWND, LPARAM, LRESULT, WPARAM};
use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;
use windows_sys::Win32::UI::WindowsAndMessaging::{
    CreateWindowExW, DefWindowProcW, DispatchMessageW, GetMessageW, MSG, RegisterClassW, WM_ENDSESSION, WNDCLASSW,
};
use windows_sys::core::{PCWSTR, w};

/// What the window is called among those of all programs.
const CLASS: PCWSTR = w!("p2p-fileshare-session-end");
/// Windows waits some five seconds for the message to be answered, and ends the program then.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether the session ends.
static ENDS: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Hears of the end of the session from now on.
pub(crate) struct SessionEnd(watch::Receiver<bool>);

impl SessionEnd {
    /// Begins to listen. Where no thread or no window can be had, the end of the session ends the program without a word.
    pub(crate) fn listen() -> Self {
        static STARTED: Once = Once::new();
        let end = SessionEnd(ENDS.subscribe());
        STARTED.call_once(|| drop(thread::Builder::new().name("session-end".to_owned()).spawn(keep_window)));
        end
    }

    /// Waits for it.
    pub(crate) async fn comes(&mut self) {
        // The sender is there for as long as the program is.
        let _ = self.0.changed().await;
    }
}

/// Keeps the window for as long as the program runs.
fn keep_window() {
    // SAFETY: the name of the class is a constant that ends with a zero, and the class lives until it is registered. All else that is
    // null may be. The window is one of this thread, which hands out its messages.
    unsafe {
        let instance = GetModuleHandleW(null());
        let class =
            WNDCLASSW { lpfnWndProc: Some(answer), hInstance: instance, lpszClassName: CLASS, ..Default::default() };
        if RegisterClassW(&raw const class) == 0 {
            return;
        }
        let none = null_mut();
        if CreateWindowExW(0, CLASS, null(), 0, 0, 0, 0, 0, none, none, instance, null()).is_null() {
            return;
        }
        let mut message = MSG::default();
        while GetMessageW(&raw mut message, null_mut(), 0, 0) > 0 {
            DispatchMessageW(&raw const message);
        }
    }
}

/// Answers a message. That the session may end is what Windows answers by itself.
unsafe extern "system" fn answer(window: HWND, message: u32, first: WPARAM, second: LPARAM) -> LRESULT {
    if message == WM_ENDSESSION && first != 0 {
        ENDS.send_replace(true);
        // Once this is answered, Windows may end the program before it has said goodbye.
        thread::sleep(LONGEST);
    }
    // SAFETY: these are what the system has called this with.
    unsafe { DefWindowProcW(window, message, first, second) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_session_is_heard() {
        let mut end = SessionEnd::listen();
        // SAFETY: a window that is none is one that the system knows how to answer for.
        thread::spawn(|| unsafe { answer(null_mut(), WM_ENDSESSION, 1, 0) });
        end.comes().await;
    }
}

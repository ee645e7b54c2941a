//! Programs run with a limit on time and on what they may print.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// More than any honest answer.
const MOST_OUTPUT_BYTES: u64 = 1 << 20;
const POLL: Duration = Duration::from_millis(10);
/// Not for a library that we only look at.
const SECRETS: [&str; 4] = ["HF_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "MODELSCOPE_API_TOKEN"];

#[derive(Debug)]
pub(crate) struct Finished {
    /// None: it was stopped at the limit.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command` with `input` on its stdin until it ends or `limit` is over; then it is killed.
pub(crate) fn run(command: &mut Command, input: &[u8], limit: Duration) -> std::io::Result<Finished> {
    let mut child = apart(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        use std::io::Write as _;
        // A child that reads no input has closed it: its answer tells the rest.
        let _ = stdin.write_all(input);
    }
    let status = wait(&mut child, limit)?;
    Ok(Finished { status, stdout: collected(stdout), stderr: collected(stderr) })
}

/// Without our secrets, and without a window of its own.
fn apart(command: &mut Command) -> &mut Command {
    for secret in SECRETS {
        command.env_remove(secret);
    }
    #[cfg(windows)]
    {
        use std::os::windows::process::CommandExt as _;
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        command.creation_flags(CREATE_NO_WINDOW);
    }
    command
}

/// What a program that was started for one line of its output came to.
#[derive(Debug)]
pub(crate) enum Said {
    /// The first line with the prefix, without it.
    Line(String),
    Ended(ExitStatus),
    TimedOut,
}

/// A program of which one line is wanted. It runs while its starter does other things, and once the line is there
/// nobody waits for it any more: what a driver does at its end can take as long as its start.
#[derive(Debug)]
pub(crate) struct Asked {
    child: Child,
    line: std::sync::mpsc::Receiver<String>,
    end: Instant,
}

/// Starts `command` for the first line of its stdout that begins with `prefix`.
pub(crate) fn ask(command: &mut Command, prefix: &'static str, limit: Duration) -> std::io::Result<Asked> {
    let mut child = apart(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (send, line) = std::sync::mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            use std::io::BufRead as _;
            let mut lines = std::io::BufReader::new(stdout.take(MOST_OUTPUT_BYTES)).lines().map_while(Result::ok);
            let found = lines.find_map(|line| Some(line.strip_prefix(prefix)?.to_owned()));
            // Without a line the channel closes: the program has ended.
            found.map(|line| send.send(line))
        });
    }
    Ok(Asked { child, line, end: Instant::now() + limit })
}

impl Asked {
    /// Waits for the line, no longer than the limit that was set at the start.
    pub(crate) fn answer(mut self) -> std::io::Result<Said> {
        use std::sync::mpsc::RecvTimeoutError;
        match self.line.recv_timeout(self.end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.leave();
                Ok(Said::Line(line))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.leave();
                Ok(Said::TimedOut)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let left = self.end.saturating_duration_since(Instant::now());
                Ok(wait(&mut self.child, left)?.map_or(Said::TimedOut, Said::Ended))
            }
        }
    }

    /// Ends the program, and does not wait until it has ended.
    pub(crate) fn leave(mut self) {
        std::thread::spawn(move || {
            // One that has ended meanwhile cannot be killed; waiting takes its remains away.
            let _ = self.child.kill();
            let _ = self.child.wait();
        });
    }
}

fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

type Collecting = Option<std::sync::mpsc::Receiver<Vec<u8>>>;

/// Reads on a thread of its own, so that a full pipe stops nobody; what is beyond the cap is read and dropped.
fn reader(stream: Option<impl Read + Send + 'static>) -> Collecting {
    let mut stream = stream?;
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is.
        let _ = stream.by_ref().take(MOST_OUTPUT_BYTES).read_to_end(&mut bytes);
        let _ = send.send(bytes);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    Some(receive)
}

/// A grandchild may hold the pipe open after the child's end: it is not waited for long.
fn collected(receive: Collecting) -> String {
    let bytes = receive.and_then(|receive| receive.recv_timeout(Duration::from_secs(1)).ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `signal 11 (segmentation fault)`, `exit code 0xC0000135 (a DLL is missing)`; none for a good end.
pub(crate) fn bad_end(status: ExitStatus) -> Option<String> {
    if status.success() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            let name = match signal {
                libc::SIGILL => " (illegal instruction: the CPU lacks what the build uses)",
                libc::SIGABRT => " (it aborted itself)",
                libc::SIGSEGV => " (segmentation fault)",
                libc::SIGBUS => " (bus error)",
                libc::SIGFPE => " (arithmetic error)",
                libc::SIGKILL => " (killed)",
                _ => "",
            };
            return Some(format!("signal {signal}{name}"));
        }
    }
    let code = status.code().unwrap_or_default();
    // NTSTATUS codes that a process ends with on Windows (ntstatus.h).
    Some(match code as u32 {
        0xC000_0135 => "exit code 0xC0000135 (a DLL is missing)".to_owned(),
        0xC000_0139 => "exit code 0xC0000139 (a DLL lacks a function: it is of another build)".to_owned(),
        0xC000_001D => "exit code 0xC000001D (illegal instruction: the CPU lacks what the build uses)".to_owned(),
        0xC000_0005 => "exit code 0xC0000005 (access violation)".to_owned(),
        high if high >= 0xC000_0000 => format!("exit code {high:#X}"),
        _ => format!("exit code {code}"),
    })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Finished {
        run(Command::new("sh").args(["-c", script]), b"input", limit).unwrap()
    }

    #[test]
    fn output_and_end_are_told() {
        let finished = shell("cat; echo talk >&2; exit 3", Duration::from_secs(10));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("input", "talk\n"));
        assert_eq!(bad_end(finished.status.unwrap()).as_deref(), Some("exit code 3"));
        let crashed = shell("kill -SEGV $$", Duration::from_secs(10));
        assert_eq!(bad_end(crashed.status.unwrap()).as_deref(), Some("signal 11 (segmentation fault)"));
    }

    #[test]
    fn a_line_is_taken_as_soon_as_it_is_there() {
        let begin = Instant::now();
        let said =
            |script: &str, limit| ask(Command::new("sh").args(["-c", script]), "@", limit).unwrap().answer().unwrap();
        let long = Duration::from_mins(1);
        assert!(
            matches!(said("echo x; echo @one; echo @two; exec sleep 600", long), Said::Line(line) if line == "one")
        );
        assert!(matches!(said("echo x; exit 3", long), Said::Ended(status) if status.code() == Some(3)));
        assert!(matches!(said("exec sleep 600", Duration::from_millis(50)), Said::TimedOut));
        assert!(begin.elapsed() < long, "nobody waited for the sleepers");
    }

    #[test]
    fn a_hang_and_a_flood_end() {
        let finished = shell("exec sleep 600", Duration::from_millis(100));
        assert!(finished.status.is_none());
        let flood = shell("head -c 3000000 /dev/zero; exit 0", Duration::from_secs(20));
        assert_eq!(flood.stdout.len() as u64, MOST_OUTPUT_BYTES);
        assert!(bad_end(flood.status.unwrap()).is_none());
    }
}

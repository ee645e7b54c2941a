//! The servers of one plan, together: started, ready, watched, stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::start::{Server, ServerError, Start};
use super::supervise::stops_asked;
use crate::script::Launch;

/// Long enough for a large model on a slow disk, and for a first start that compiles kernels for the card.
pub const READY_LIMIT: Duration = Duration::from_mins(20);
/// What a server may take to end in order.
pub const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// What the fleet tells while it works.
#[derive(Debug)]
pub enum Event<'a> {
    Starting { server: &'a Server },
    Waiting { name: &'a str, waited: Duration },
    Ready { index: usize, server: &'a Server, waited: Duration },
}

#[derive(Debug)]
pub struct Fleet {
    pub servers: Vec<Server>,
}

/// The processes to start for a launch. `-lv 4` makes today's builds print the sizes of their buffers.
pub fn starts(launch: &Launch, program: &Path, logs: &Path, without: &[String]) -> Vec<Start> {
    let server = |(server, context): (&crate::script::LaunchServer, &u32)| {
        let mut arguments = server.words(*context);
        arguments.extend(["-lv".to_owned(), "4".to_owned()]);
        Start {
            name: server.name.clone(),
            program: program.to_owned(),
            arguments,
            without: without.to_vec(),
            host: server.host.clone(),
            port: server.port,
            log: logs.join(format!("{}.log", server.name)),
        }
    };
    launch.servers.iter().zip(&launch.rungs[0].contexts).map(server).collect()
}

impl Fleet {
    /// Starts all and waits for all. When one fails the others are stopped before the error returns.
    pub fn start(starts: &[Start], limit: Duration, tell: &mut dyn FnMut(Event<'_>)) -> Result<Self, ServerError> {
        let mut fleet = Self { servers: Vec::new() };
        for start in starts {
            let server = Server::start(start)?;
            tell(Event::Starting { server: &server });
            fleet.servers.push(server);
        }
        for index in 0..fleet.servers.len() {
            let name = fleet.servers[index].name.clone();
            let waited =
                fleet.servers[index].wait_ready(limit, &mut |waited| tell(Event::Waiting { name: &name, waited }))?;
            tell(Event::Ready { index, server: &fleet.servers[index], waited });
        }
        Ok(fleet)
    }

    /// Until the user asks to stop, or a server ends by itself, which is an error.
    pub fn watch(&mut self) -> Result<(), ServerError> {
        while stops_asked() == 0 {
            for server in &mut self.servers {
                server.still_runs()?;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Asks all to end, then waits for each.
    pub fn stop(&mut self) -> Result<Vec<PathBuf>, ServerError> {
        let mut logs = Vec::new();
        for server in &mut self.servers {
            server.process.stop(STOP_PATIENCE)?;
            logs.push(server.log());
        }
        Ok(logs)
    }
}
